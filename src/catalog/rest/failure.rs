//! Error messages for a server's responses.

use reqwest::StatusCode;

use super::http::Answer;
use super::wire::{ErrorModel, ErrorResponse, OAuthError};
use crate::error::Error;
use crate::secrets;

/// Longer messages are truncated: some servers send a stack trace.
const LONGEST: usize = 400;

/// The response's `ErrorModel`, if it has one.
pub(crate) fn model(answer: &Answer) -> Option<ErrorModel> {
    serde_json::from_slice::<ErrorResponse>(&answer.body).ok().map(|response| response.error)
}

/// Status and message on one line.
pub(crate) fn said(answer: &Answer) -> String {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
    let mut text = format!("{} {reason}", answer.status).trim_end().to_owned();
    let message = match (model(answer), serde_json::from_slice::<OAuthError>(&answer.body)) {
        (Some(model), _) => match (model.kind, model.message) {
            (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
            (kind, message) => kind.or(message),
        },
        (None, Ok(oauth)) => {
            Some(oauth.error_description.map_or(oauth.error.clone(), |said| format!("{}: {said}", oauth.error)))
        }
        (None, Err(_)) => None,
    };
    if let Some(message) = message {
        text.push_str(", ");
        text.push_str(&plain(&message));
    }
    text
}

/// The first line, without secrets, truncated.
fn plain(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    // Truncated after masking: otherwise part of a secret could remain.
    secrets::strike(&line).chars().take(LONGEST).collect()
}

/// The error for an unsuccessful response. `asked` continues "when asked to …".
pub(crate) fn refused(asked: &str, answer: &Answer) -> Error {
    let error = Error::failed(format!("the catalog answered {} when asked to {asked}", said(answer)));
    match answer.status {
        300..=399 => error.advice("The server redirects elsewhere: give that address as the catalog's uri"),
        401 | 419 => error.advice(
            "The sign-in is wrong or has expired: check the catalog's properties token, credential or rest.sigv4-enabled",
        ),
        403 => error.advice("The account that signed in lacks the right to do this; grant it in the catalog"),
        404 if model(answer).is_none() => error.advice("Check the catalog's uri: there is no REST catalog at this path"),
        429 | 500..=599 => error.advice("Nothing was changed; try again later"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec().into(), retry_after: None }
    }

    #[test]
    fn messages_are_short_and_without_secrets() {
        for secret in ["s3cr3t", "Bearer abcd", "abcd"] {
            secrets::remember(secret);
        }
        let body = r#"{"error":{"message":"bad s3cr3t Bearer abcd abcd\n\tat Stack.trace","type":"BadRequestException","code":400}}"#;
        assert_eq!(said(&answer(400, body)), "400 Bad Request, BadRequestException: bad *** *** ***");
        let body = r#"{"error":"invalid_client","error_description":"who is s3cr3t?"}"#;
        assert_eq!(said(&answer(401, body)), "401 Unauthorized, invalid_client: who is ***?");
        assert_eq!(said(&answer(502, "<html>s3cr3t")), "502 Bad Gateway");
        assert_eq!(said(&answer(599, "")), "599");
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(10_000));
        assert!(said(&answer(500, &long)).len() < 500);
    }

    #[test]
    fn each_status_has_its_way_out() {
        let told = |status: u16| refused("load a table", &answer(status, "")).to_string();
        for (status, advice) in [
            (302, "give that address"),
            (401, "sign-in is wrong"),
            (419, "has expired"),
            (403, "lacks the right"),
            (404, "no REST catalog at this path"),
            (429, "try again later"),
            (500, "try again later"),
            (599, "try again later"),
        ] {
            assert!(told(status).contains(advice), "{}", told(status));
        }
        for status in [400, 409, 422] {
            assert!(told(status).ends_with("when asked to load a table"), "{}", told(status));
        }
        let missing = r#"{"error":{"message":"no table","type":"NoSuchTableException","code":404}}"#;
        assert!(!refused("load a table", &answer(404, missing)).to_string().contains("at this path"));
    }
}
