use chrono::TimeDelta;
use ddb_iceberg::time::Time;

use super::values::{Age, parse_age, parse_table};
use super::*;

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
}

#[test]
fn a_table_has_a_namespace_of_one_or_more_levels() {
    let ident = parse_table("shop.orders").unwrap();
    assert_eq!((ident.namespace().as_ref().as_slice(), ident.name()), (&["shop".to_owned()][..], "orders"));
    let ident = parse_table("eu.shop.orders").unwrap();
    assert_eq!(ident.namespace().as_ref().as_slice(), ["eu".to_owned(), "shop".to_owned()]);
    for wrong in ["orders", "", ".", "shop.", ".orders", "a..b", "a. .b", "a.b\u{1b}"] {
        assert!(parse_table(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn ages_are_spans_or_times() {
    for (text, seconds) in [("0s", 0), ("90m", 5_400), ("12h", 43_200), ("5d", 432_000), ("2w", 1_209_600)] {
        assert_eq!(parse_age(text), Ok(Age::Span(TimeDelta::seconds(seconds))), "{text}");
    }
    let time = ddb_iceberg::time::parse("2026-01-14T10:00:00Z").unwrap();
    assert_eq!(parse_age("2026-01-14T10:00:00Z"), Ok(Age::Since(time)));
    assert_eq!(parse_age("99999999999w").ok(), None);
    for wrong in ["", "5", "d", "-5d", "5 d", "5y", "1.5d", "5é", "99999999999999999999d"] {
        assert!(parse_age(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(parse_age("99999999w").unwrap().before(time), Time::MIN_UTC);
}

#[test]
fn shared_options_stand_before_and_after_the_subcommand() {
    let typed = [
        "ddb-iceberg",
        "-v",
        "--catalog-property",
        "a=1",
        "--warehouse",
        "one",
        "incremental",
        "x",
        "--table",
        "n.t",
        "-v",
        "--catalog-property",
        "b=2",
        "--warehouse",
        "two",
    ];
    let cli = Cli::try_parse_from(typed).ok().unwrap();
    let Command::Incremental(args) = cli.command else { panic!("incremental") };
    let shared = cli.shared.followed_by(args.shared);
    assert_eq!(shared.catalog_property, ["a=1", "b=2"]);
    assert_eq!(shared.warehouse.as_deref(), Some("two"));
    assert_eq!(shared.verbose, 2);
}
