//! Messages for AWS SDK errors.

use crate::error::Error;
use crate::secrets;

/// The error for a request that was never sent because there were no credentials to sign it with; `None` for other
/// errors. `cannot` starts the message; `service` is the prefix of the properties for keys.
pub(crate) fn without_credentials(error: &dyn std::error::Error, cannot: &str, service: &str) -> Option<Error> {
    let mut texts = causes(error);
    if !texts.iter().any(|cause| cause.to_lowercase().contains("credential")) {
        return None;
    }
    // The SDK calls unnamed errors "other" etc., and lists everything that it tried, which does not help users.
    let nowhere = texts.iter().any(|text| text.contains("no credentials found in chain"));
    texts.retain(|text| text.contains(' ') && !nowhere);
    let found = if nowhere { "; no variable, profile or role gives any" } else { "" };
    let error = Error::failed(format!("{cannot}: there are no usable AWS credentials{found}")).advice(format!(
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the catalog properties {service}.access-key-id \
         and {service}.secret-access-key; on AWS, give the machine or the task a role"
    ));
    let cause = texts.join(": ");
    Some(if cause.is_empty() { error } else { error.caused_by(cause.trim_end_matches('.').to_owned()) })
}

/// The texts of an error's causes, outermost first, without the SDK's own wrappers.
pub(crate) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = shorten(&cause.to_string());
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    if texts.is_empty() {
        texts.push(shorten(&error.to_string()));
    }
    texts
}

/// A service's message: one line of at most 300 characters, without secrets.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 300;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // Truncated after masking: otherwise part of a secret could remain.
    let line: String = secrets::strike(&line).chars().take(LONGEST).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_for_credentials_is_not_listed() {
        let without = |text: &str| {
            let cause = std::io::Error::other(text.to_owned());
            let error = Error::failed("dispatch failure").caused_by(Error::failed("other").caused_by(cause));
            without_credentials(&error, "cannot read", "s3").map(|error| error.to_string())
        };
        let text = without("no credentials found in chain.\nAttempted:\n  Environment: not enabled").unwrap();
        assert!(
            text.starts_with("cannot read: there are no usable AWS credentials; no variable, profile or role"),
            "{text}"
        );
        assert!(!text.contains("Attempted") && !text.contains("other"), "{text}");
        let text = without("the credentials of the profile can't be read.").unwrap();
        assert!(text.contains("credentials: ") && text.contains("can't be read. Set AWS_ACCESS_KEY_ID"), "{text}");
        assert!(without("connection refused").is_none());
    }
}
