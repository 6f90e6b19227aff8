//! RLE / bit-packing hybrid encoding of levels and dictionary indexes (`Encodings.md` of the format): runs of one
//! number, and groups of eight numbers in as few bits as the maximum needs.

/// Numbers per group.
const GROUP: usize = 8;
/// Maximum number of groups per header: as many as one byte can count, as other writers do.
const MOST_GROUPS: usize = 63;

/// Number of bits for numbers up to `greatest`.
pub(crate) fn width_of(greatest: u32) -> u32 {
    u32::BITS - greatest.leading_zeros()
}

/// Appends numbers of at most `width` bits.
pub(crate) fn pack<T: Copy + PartialEq>(values: &[T], width: u32, number: impl Fn(T) -> u32, out: &mut Vec<u8>) {
    // Groups from `begin` to `at` are pending until the first run, or the end.
    let (mut begin, mut at) = (0, 0);
    while let Some(value) = values.get(at) {
        let run = values[at..].iter().take_while(|other| *other == value).count();
        if run >= GROUP || run == values.len() {
            pack_groups(&values[begin..at], width, &number, out);
            pack_run(number(*value), run, width, out);
            at += run;
            begin = at;
        } else {
            at = values.len().min(at + GROUP);
        }
    }
    pack_groups(&values[begin..], width, &number, out);
}

/// Appends `count` numbers of at most `width` bits: all are `number`, except for some at the given places, which are in
/// order. Costs as much as those few.
pub(crate) fn pack_few(
    number: u32,
    others: impl Iterator<Item = (usize, u32)>,
    count: usize,
    width: u32,
    out: &mut Vec<u8>,
) {
    // `groups` are pending, and follow what has been appended; all before `at` is in one or the other.
    let (mut groups, mut at) = (Vec::new(), 0);
    for (place, other) in others {
        if place >= at + GROUP {
            pack_groups(&groups, width, |number| number, out);
            groups.clear();
            pack_run(number, place - at, width, out);
            at = place;
        }
        if place >= at {
            groups.resize(groups.len() + GROUP, number);
            at += GROUP;
        }
        let slot = (groups.len() + place).checked_sub(at).and_then(|slot| groups.get_mut(slot));
        if let Some(slot) = slot {
            *slot = other;
        }
    }
    let last = groups.len() + count - at.min(groups.len() + count);
    groups.truncate(last);
    pack_groups(&groups, width, |number| number, out);
    if count > at {
        pack_run(number, count - at, width, out);
    }
}

/// Appends a run of one number.
pub(crate) fn pack_run(number: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    put_varint(count << 1, out);
    let bytes = usize::try_from(width.div_ceil(8)).unwrap_or(size_of::<u32>());
    out.extend(number.to_le_bytes().iter().take(bytes));
}

fn pack_groups<T: Copy>(values: &[T], width: u32, number: impl Fn(T) -> u32, out: &mut Vec<u8>) {
    for part in values.chunks(MOST_GROUPS * GROUP) {
        put_varint(part.len().div_ceil(GROUP) << 1 | 1, out);
        for group in part.chunks(GROUP) {
            let (mut bits, mut filled) = (0_u64, 0);
            // The last group is padded with numbers that nobody reads.
            let numbers = group.iter().map(|value| u64::from(number(*value))).chain(std::iter::repeat(0));
            for number in numbers.take(GROUP) {
                bits |= number << filled;
                filled += width;
                while filled >= 8 {
                    out.extend(bits.to_le_bytes().first());
                    bits >>= 8;
                    filled -= 8;
                }
            }
        }
    }
}

fn put_varint(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes as the format specifies.
    pub(crate) fn unpack(mut bytes: &[u8], width: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        while !bytes.is_empty() {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(width.div_ceil(8) as usize);
                let value = value.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
                numbers.extend(std::iter::repeat_n(value, header >> 1));
                bytes = rest;
            } else {
                let (packed, rest) = bytes.split_at((header >> 1) * width as usize);
                let bit = |n: usize| u32::from(packed[n / 8] >> (n % 8) & 1);
                for n in 0..(header >> 1) * 8 {
                    numbers.push((0..width).map(|k| bit(n * width as usize + k as usize) << k).sum());
                }
                bytes = rest;
            }
        }
        numbers
    }

    fn packed(numbers: &[u32], width: u32) -> Vec<u8> {
        let mut out = Vec::new();
        pack(numbers, width, |number| number, &mut out);
        out
    }

    #[test]
    fn runs_and_groups_are_those_of_the_format() {
        assert_eq!(packed(&[0, 1, 2, 3, 4, 5, 6, 7], 3), [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
        assert_eq!(packed(&[300; 100], 9), [200, 1, 44, 1]);
        assert_eq!(packed(&[1; 7], 1), [14, 1]);
        assert_eq!(packed(&[1, 1, 0], 1), [0b11, 0b011]);
        assert_eq!(packed(&[0; 5], 0), [10]);
        assert_eq!(packed(&[], 1), [0; 0]);
        assert_eq!((width_of(0), width_of(1), width_of(255), width_of(256)), (0, 1, 8, 9));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(
            runs in prop::collection::vec((any::<u32>(), prop_oneof![1..4_usize, 6..20_usize, 200..300_usize]), 0..400),
            width in 0..=32_u32,
        ) {
            let most = u32::MAX.checked_shr(32 - width).unwrap_or(0);
            let numbers: Vec<u32> =
                runs.iter().flat_map(|(number, count)| std::iter::repeat_n(number & most, *count)).collect();
            let read = unpack(&packed(&numbers, width), width);
            prop_assert_eq!(&read[..numbers.len()], &numbers[..]);
            prop_assert!(read.len() < numbers.len() + GROUP);
        }

        #[test]
        fn few_others_are_read_where_they_are(
            gaps in prop::collection::vec((prop_oneof![4 => 0..12_usize, 1 => 600..3000_usize], 0..4_u32), 0..60),
            rest in 0..20_usize,
        ) {
            let (mut numbers, mut others) = (Vec::new(), Vec::new());
            for (gap, other) in gaps {
                numbers.resize(numbers.len() + gap, 2);
                others.push((numbers.len(), other));
                numbers.push(other);
            }
            numbers.resize(numbers.len() + rest, 2);
            let mut out = Vec::new();
            pack_few(2, others.iter().copied(), numbers.len(), 2, &mut out);
            let read = unpack(&out, 2);
            prop_assert_eq!(&read[..numbers.len()], &numbers[..]);
            prop_assert!(read.len() < numbers.len() + GROUP);
            prop_assert!(out.len() <= 8 * others.len() + 4);
        }
    }
}
