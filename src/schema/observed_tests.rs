use proptest::prelude::*;

use super::*;
use crate::schema::types::ColumnType;

fn observe(values: &[String], limits: &Limits) -> Observed {
    let mut observed = Observed::default();
    for value in values {
        let mut parser = Parser::new(value.as_bytes()).unwrap();
        observed.observe(&mut parser, limits, &mut String::new()).unwrap();
        parser.end().unwrap();
    }
    observed
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-z]{0,3}".prop_map(|s| format!(r#"{{"S":"{s}"}}"#)),
        Just(r#"{"S":"2026-01-14T10:20:00Z"}"#.to_owned()),
        (-1000i64..1000, 0u32..5).prop_map(|(n, s)| format!(r#"{{"N":"{n}E-{s}"}}"#)),
        Just(r#"{"N":"1E100"}"#.to_owned()),
        Just(r#"{"NULL":true}"#.to_owned()),
        Just(r#"{"BOOL":true}"#.to_owned()),
        Just(r#"{"NS":["1","2.5"]}"#.to_owned()),
        Just(r#"{"NS":["7"]}"#.to_owned()),
        Just(r#"{"SS":["a"]}"#.to_owned()),
        Just(r#"{"BS":["aGk="]}"#.to_owned()),
        Just(r#"{"B":"aGk="}"#.to_owned()),
        Just(r#"{"N":"99999999999999999999999999999999999999"}"#.to_owned()),
    ];
    leaf.prop_recursive(6, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!(r#"{{"L":[{}]}}"#, v.join(","))),
            prop::collection::btree_map("[a-f]", inner, 0..6).prop_map(|m| {
                let fields: Vec<_> = m.iter().map(|(k, v)| format!(r#""{k}":{v}"#)).collect();
                format!(r#"{{"M":{{{}}}}}"#, fields.join(","))
            }),
        ]
    })
}

const LIMITS: Limits = Limits { struct_fields: 3, attributes: 100 };

fn joined(a: &Observed, b: &Observed) -> Observed {
    let mut joined = a.clone();
    joined.join(b.clone(), &LIMITS);
    joined
}

/// All that was seen, but for how often.
fn seen(observed: &Observed) -> String {
    let kinds: Vec<_> = observed.kinds().map(Kind::name).collect();
    let inside = |place: Option<&Observed>| place.map(seen).unwrap_or_default();
    let fields: Vec<_> = observed.fields().sorted().iter().map(|(name, o)| format!("{name}:{}", seen(o))).collect();
    let (numbers, set_numbers) = (observed.numbers(), observed.set_numbers());
    format!(
        "{kinds:?} {numbers:?} {set_numbers:?} [{}] {fields:?} <{}>",
        inside(observed.element()),
        inside(observed.values())
    )
}

proptest! {
    #[test]
    fn joining_is_a_lattice(values in prop::collection::vec(value(), 3..12), cut in 1usize..11, again in 1usize..11) {
        let (a, rest) = values.split_at(cut.min(values.len() - 2));
        let (b, c) = rest.split_at(again.min(rest.len() - 1));
        let (a, b, c) = (observe(a, &LIMITS), observe(b, &LIMITS), observe(c, &LIMITS));
        let all = joined(&joined(&a, &b), &c);
        prop_assert_eq!(seen(&all), seen(&joined(&a, &joined(&b, &c))), "associative");
        prop_assert_eq!(seen(&joined(&a, &b)), seen(&joined(&b, &a)), "commutative");
        prop_assert_eq!(seen(&joined(&a, &a)), seen(&a), "idempotent");
        prop_assert_eq!(seen(&joined(&all, &b)), seen(&all), "what was seen is seen");
        prop_assert_eq!(seen(&joined(&Observed::default(), &a)), seen(&a), "nothing is the least");
        for kind in Kind::ALL {
            prop_assert_eq!(joined(&a, &b).count(kind), a.count(kind) + b.count(kind), "counts add");
        }
        prop_assert_eq!(ColumnType::of(&all), ColumnType::of(&joined(&c, &joined(&b, &a))));
    }

    #[test]
    fn the_order_of_values_is_nothing(values in prop::collection::vec(value(), 1..12).prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle()))) {
        let (values, shuffled) = values;
        let (one, other) = (observe(&values, &LIMITS), observe(&shuffled, &LIMITS));
        prop_assert_eq!(seen(&one), seen(&other));
        let mut by_one = Observed::default();
        for value in &shuffled {
            by_one.join(observe(std::slice::from_ref(value), &LIMITS), &LIMITS);
        }
        prop_assert_eq!(seen(&by_one), seen(&one));
        prop_assert_eq!(by_one.total(), one.total());
        prop_assert_eq!(ColumnType::of(&by_one), ColumnType::of(&one));
    }

    #[test]
    fn any_split_gives_the_same_type(values in prop::collection::vec(value(), 1..12), cut in 0usize..12, again in 0usize..12) {
        let limits = Limits { struct_fields: 3, ..Limits::default() };
        let whole = ColumnType::of(&observe(&values, &limits));
        let (a, rest) = values.split_at(cut.min(values.len()));
        let (b, c) = rest.split_at(again.min(rest.len()));
        let (a, b, c) = (observe(a, &limits), observe(b, &limits), observe(c, &limits));
        let mut left = a.clone();
        left.join(b.clone(), &limits);
        left.join(c.clone(), &limits);
        let mut right = c.clone();
        right.join(b, &limits);
        right.join(a.clone(), &limits);
        right.join(a, &limits);
        prop_assert_eq!(&ColumnType::of(&left), &whole);
        prop_assert_eq!(&ColumnType::of(&right), &whole);
        let all = observe(&values, &limits);
        for joined in [&left, &right] {
            prop_assert_eq!(joined.numbers(), all.numbers());
            prop_assert_eq!(joined.set_numbers(), all.set_numbers());
            prop_assert_eq!(joined.instants_only(), all.instants_only());
        }
    }
}
