//! The first bytes of a type descriptor and its value.

/// How a name starts a member of an object after another one: `,"name":`.
#[derive(Debug, Clone)]
pub struct Opening {
    text: Box<str>,
    /// The text's first bytes, with a mask of the bits that count: comparing a few words takes less time than a call.
    words: [u64; WORDS],
    masks: [u64; WORDS],
}

impl Opening {
    /// `None` for a name that needs JSON escapes.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if name.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            return None;
        }
        let text = format!(",\"{name}\":");
        let words = |value: fn(u8) -> u8| {
            std::array::from_fn(|n| {
                let bytes = text.bytes().skip(n * 8).take(8);
                bytes.rev().fold(0u64, |word, byte| word << 8 | u64::from(value(byte)))
            })
        };
        Some(Self { words: words(|byte| byte), masks: words(|_| 0xFF), text: text.into() })
    }

    /// Its bytes, including the comma.
    pub(crate) fn length(&self) -> usize {
        self.text.len()
    }

    /// Whether the text continues with it; without the comma if it is the `first` member.
    #[inline]
    pub(crate) fn stands_at(&self, text: &[u8], at: usize, first: bool) -> bool {
        let from = at.wrapping_sub(usize::from(first));
        let Some(window) = text.get(from..).and_then(|rest| rest.first_chunk::<WINDOW>()) else {
            return self.stands_near_end(text, at, first);
        };
        let word =
            |n: usize| window.get(n * 8..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_le_bytes);
        let comma = if first { 0xFF } else { 0 };
        let ([w0, w1, w2, w3], [m0, m1, m2, m3]) = (self.words, self.masks);
        let differing = (word(0) ^ w0) & m0 & !comma | (word(1) ^ w1) & m1 | (word(2) ^ w2) & m2 | (word(3) ^ w3) & m3;
        differing == 0 && (self.text.len() <= WINDOW || self.stands_near_end(text, at, first))
    }

    #[inline(never)]
    fn stands_near_end(&self, text: &[u8], at: usize, first: bool) -> bool {
        let expected = self.text.as_bytes().get(usize::from(first)..).unwrap_or_default();
        text.get(at..).is_some_and(|rest| rest.starts_with(expected))
    }
}

const WORDS: usize = 4;

const WINDOW: usize = WORDS * 8;
