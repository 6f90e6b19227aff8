//! Error messages for S3: the bucket, the key, the permission, and what to do.

use std::fmt::Write as _;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::address::Address;
use super::codes::status;
use super::shared::Shared;
use crate::aws::failure::{causes, shorten, without_credentials};
use crate::error::Error;

/// The action that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Read,
    Look,
    List,
    ListUploads,
    Write,
    Delete,
}

impl Act {
    /// Continues "cannot …".
    fn words(self) -> &'static str {
        match self {
            Self::Read => "read the object",
            Self::Look => "look for the object",
            Self::List => "list the folder",
            Self::ListUploads => "list the uploads",
            Self::Write => "write the object",
            Self::Delete => "delete the object",
        }
    }

    /// The permission it needs, and on what.
    fn permission(self, address: &Address) -> String {
        let Address { bucket, key } = address;
        match self {
            Self::Read | Self::Look => format!("s3:GetObject on arn:aws:s3:::{bucket}/{key}"),
            Self::List => format!("s3:ListBucket on arn:aws:s3:::{bucket}"),
            Self::ListUploads => format!("s3:ListBucketMultipartUploads on arn:aws:s3:::{bucket}"),
            Self::Write => format!("s3:PutObject on arn:aws:s3:::{bucket}/{key}"),
            Self::Delete => format!("s3:DeleteObject on arn:aws:s3:::{bucket}/{key}"),
        }
    }
}

impl Shared {
    /// The error for the user.
    #[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
    pub(crate) fn failed<E>(&self, act: Act, address: &Address, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let said = Said {
            status: status(&error),
            code: error.code().map(shorten).unwrap_or_default(),
            message: error.message().map(shorten).unwrap_or_default(),
            region: error
                .raw_response()
                .and_then(|response| response.headers().get("x-amz-bucket-region"))
                .map(shorten),
            request: error.raw_response().and_then(|r| r.headers().get("x-amz-request-id")).map(shorten),
        };
        let error = if let Some(status) = said.status {
            let advice = if self.loans.is_some() { said.of_lent_keys() } else { None };
            let error = said.explain(status, act, address);
            match advice {
                Some(advice) => error.other_advice(advice),
                None => error,
            }
        } else {
            let region = self.client.get().and_then(|client| client.config().region());
            unanswered(act.words(), &self.config.access.place("s3", region), &error)
        };
        error.in_file(address.to_string())
    }
}

/// No response: the network failed, or there are no credentials to sign a request with.
fn unanswered<E: std::error::Error + Send + Sync + 'static>(words: &str, place: &str, error: &SdkError<E>) -> Error {
    if let Some(without) = without_credentials(error, &format!("cannot {words}"), "s3") {
        return without;
    }
    let timed_out = matches!(error, SdkError::TimeoutError(_));
    let what = if timed_out { "S3 did not answer in time" } else { "S3 was not reached" };
    Error::failed(format!("cannot {words}: {what} at {place}"))
        .caused_by(causes(error).join(": "))
        .advice("Check the network, s3.endpoint and the region, then run again")
}

/// An error response.
struct Said {
    status: Option<u16>,
    code: String,
    message: String,
    region: Option<String>,
    request: Option<String>,
}

impl Said {
    /// The advice if S3 does not accept keys that a catalog vended.
    fn of_lent_keys(&self) -> Option<&'static str> {
        match (self.status, self.code.as_str()) {
            (_, "ExpiredToken" | "ExpiredTokenException") => Some(
                "The catalog has lent these keys and gives no newer ones: check there how long they are good for, then \
                 run the command again",
            ),
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "TokenRefreshRequired") => {
                Some("The catalog has lent these keys: check there which keys it lends for this location")
            }
            (Some(403), _) if self.other_region(403).is_none() => {
                Some("The catalog has lent these keys: they must be good for this location, too")
            }
            _ => None,
        }
    }

    fn explain(self, status: u16, act: Act, address: &Address) -> Error {
        let words = act.words();
        let Address { bucket, key } = address;
        let named =
            if key.is_empty() { format!("bucket {bucket:?}") } else { format!("bucket {bucket:?}, key {key:?}") };
        let code = self.code.as_str();
        if let Some(region) = self.other_region(status) {
            return Error::failed(format!("cannot {words}: bucket {bucket:?} is in the region {region}")).advice(
                format!("Set the catalog property s3.region={region} (export.s3.region for an export), or AWS_REGION"),
            );
        }
        match (status, code) {
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "TokenRefreshRequired") => {
                Error::failed(format!(
                    "cannot {words} ({named}): S3 does not take the AWS credentials{}",
                    self.detail(status)
                ))
                .advice("Check the access key and secret (AWS_*, the profile, or s3.access-key-id)")
            }
            (_, "ExpiredToken" | "ExpiredTokenException") => Error::failed(format!(
                "cannot {words} ({named}): the AWS credentials have expired{}",
                self.detail(status)
            ))
            .advice("Sign in again (aws sso login), then run the command again"),
            (_, "RequestTimeTooSkewed") => {
                Error::failed(format!("cannot {words} ({named}): this machine's clock is wrong{}", self.detail(status)))
                    .advice("Set the clock")
            }
            (_, "InvalidObjectState") => {
                Error::failed(format!("cannot {words} ({named}): it is archived{}", self.detail(status)))
                    .advice("Restore it first (aws s3api restore-object)")
            }
            (403, _) => {
                let mut needed = self
                    .kms()
                    .map_or_else(|| act.permission(address), |action| format!("{action} on the bucket's KMS key"));
                if act == Act::Look {
                    let _ = write!(
                        needed,
                        " (or there is no such object, and s3:ListBucket on arn:aws:s3:::{bucket} is missing)"
                    );
                }
                Error::failed(format!(
                    "cannot {words}: access denied to {named}; this takes {needed}{}",
                    self.detail(status)
                ))
                .advice("Grant the permission, or use credentials that have it")
            }
            (_, "NoSuchBucket") => Error::failed(format!("cannot {words}: there is no bucket {bucket:?}"))
                .advice("Check the bucket's name, and s3.endpoint"),
            (404, _) => Error::failed(format!("cannot {words}: there is no object {key:?} in bucket {bucket:?}")),
            (412, _) => Error::failed(format!("cannot {words} ({named}): it exists or has changed"))
                .advice("Another program may be writing there"),
            _ => Error::failed(format!("cannot {words} ({named}): S3 refused or failed{}", self.detail(status)))
                .advice("If this goes on, look at the AWS Health Dashboard or the server's log"),
        }
    }

    /// The region of the bucket, if the request went to another one.
    fn other_region(&self, status: u16) -> Option<String> {
        let moved = matches!(status, 301 | 307)
            || matches!(
                self.code.as_str(),
                "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"
            );
        if !moved {
            return None;
        }
        // "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
        let expected = self.message.split_once("expecting '").and_then(|(_, rest)| rest.split_once('\''));
        let region = self.region.clone().or_else(|| expected.map(|(region, _)| region.to_owned()));
        region.or_else(|| (status == 301).then(|| "that S3 does not name here".to_owned()))
    }

    /// The action on a KMS key in the message.
    fn kms(&self) -> Option<&str> {
        self.message
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
            .find(|word| word.starts_with("kms:") && word.len() > 4)
    }

    /// ` (403 AccessDenied: …, request …)`.
    fn detail(&self, status: u16) -> String {
        let mut text = format!(" ({status}");
        if !self.code.is_empty() {
            let _ = write!(text, " {}", self.code);
        }
        if !self.message.is_empty() {
            let _ = write!(text, ": {}", self.message);
        }
        if let Some(request) = &self.request {
            let _ = write!(text, ", request {request}");
        }
        text.push(')');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, code: &str, message: &str, region: Option<&str>) -> String {
        let said = Said {
            status: Some(status),
            code: code.to_owned(),
            message: message.to_owned(),
            region: region.map(str::to_owned),
            request: Some("REQ1".to_owned()),
        };
        let address = Address { bucket: "b".to_owned(), key: "p/k".to_owned() };
        said.explain(status, Act::Read, &address).to_string()
    }

    #[test]
    fn the_way_out_is_named() {
        for (status, code, message, region, expected) in [
            (301, "PermanentRedirect", "", Some("eu-west-1"), "s3.region=eu-west-1"),
            (
                400,
                "AuthorizationHeaderMalformed",
                "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
                None,
                "s3.region=eu-west-1",
            ),
            (403, "AccessDenied", "Access Denied", Some("us-east-1"), "s3:GetObject on arn:aws:s3:::b/p/k"),
            (
                403,
                "AccessDenied",
                "User: x is not authorized to perform: kms:Decrypt on resource: arn",
                None,
                "kms:Decrypt on the bucket's KMS key",
            ),
            (403, "SignatureDoesNotMatch", "", None, "does not take the AWS credentials"),
            (400, "ExpiredToken", "", None, "expired"),
            (404, "NoSuchBucket", "", None, "no bucket \"b\""),
            (404, "NoSuchKey", "", None, "no object \"p/k\" in bucket \"b\""),
            (403, "InvalidObjectState", "", None, "restore"),
            (500, "InternalError", "boo", None, "500 InternalError: boo, request REQ1"),
        ] {
            let text = said(status, code, message, region);
            assert!(text.to_lowercase().contains(&expected.to_lowercase()), "{text}");
        }
    }
}
