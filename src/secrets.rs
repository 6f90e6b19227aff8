//! Secrets that this process knows. Servers repeat what they were sent: a signed request, a password, a token.
//!
//! Code that reads or receives a secret [`remember`]s it. Servers' messages pass through [`strike`] before they are
//! used. All output additionally passes through [`strike_long`], since a server can put a secret where nobody expects
//! it, such as into a name.

use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::percent::encode;

/// Shorter texts do not count as secrets: they would be masked in messages everywhere.
const SHORTEST: usize = 4;
/// Texts of this length do not occur by chance: keys and tokens, but not the password `orders`.
const LONG: usize = 16;
/// The mask that replaces a secret.
const STRUCK: &str = "***";

/// Longest first, since one may be part of another.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Masks this text from now on, in each form in which it may be repeated.
pub fn remember(secret: &str) {
    if secret.len() < SHORTEST || KNOWN.read().unwrap_or_else(PoisonError::into_inner).iter().any(|s| s == secret) {
        return;
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for form in forms(secret) {
        if !known.contains(&form) {
            known.push(form);
        }
    }
    known.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// A server's message, without secrets.
pub fn strike(text: &str) -> String {
    without(text, SHORTEST)
}

/// Our own text, which may contain names from a server, without secrets that are too long to occur by chance.
pub fn strike_long(text: &str) -> String {
    without(text, LONG)
}

fn without(text: &str, shortest: usize) -> String {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = text.to_owned();
    for form in known.iter().filter(|form| form.len() >= shortest) {
        if text.contains(form.as_str()) {
            text = text.replace(form.as_str(), STRUCK);
        }
    }
    text
}

/// Unchanged, in a URL, in a form, as base64, and in quotes.
fn forms(secret: &str) -> Vec<String> {
    let upper = encode(secret);
    let quoted = format!("{secret:?}");
    let json = serde_json::to_string(secret).unwrap_or_default();
    let inner = |quoted: &str| quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let mut forms = vec![
        secret.to_owned(),
        upper.replace("%20", "+"),
        lower_escapes(&upper),
        upper,
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
        inner(&quoted),
        inner(&json),
    ];
    // Some programs omit padding.
    forms.extend([STANDARD.encode(secret), URL_SAFE.encode(secret)].map(|text| text.trim_end_matches('=').to_owned()));
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// `%2f` for `%2F`.
fn lower_escapes(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        let _ = write!(text, "%{}{rest}", digits.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_struck_in_each_of_its_forms() {
        remember("wo/rd +of:\"mine\"");
        for text in [
            "wo/rd +of:\"mine\"",
            "wo%2Frd%20%2Bof%3A%22mine%22",
            "wo%2frd%20%2bof%3a%22mine%22",
            "wo%2Frd+%2Bof%3A%22mine%22",
            "d28vcmQgK29mOiJtaW5lIg==",
            "d28vcmQgK29mOiJtaW5lIg",
            "wo/rd +of:\\\"mine\\\"",
        ] {
            assert_eq!(strike(&format!("<{text}>")), "<***>");
        }
        remember("longest-secret-word");
        remember("secret-word");
        assert_eq!(strike("a longest-secret-word, a secret-word"), "a ***, a ***");
    }

    #[test]
    fn what_is_short_stays_where_it_may_be_by_chance() {
        remember("ordr");
        remember("abc");
        assert_eq!(strike("ordr abc"), "*** abc");
        assert_eq!(strike_long("shop.ordr"), "shop.ordr");
        remember("AKIDEXAMPLEEXAMPLE");
        assert_eq!(strike_long("s3://b/AKIDEXAMPLEEXAMPLE/x"), "s3://b/***/x");
    }
}
