//! HTTP status and error codes in S3's responses.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// The status of the response, if there was one.
pub(crate) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether the response has this error code.
pub(crate) fn is_code<E: ProvideErrorMetadata>(error: &SdkError<E>, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}

/// Error codes of S3 and compatible servers for keys that have expired or were revoked.
const EXPIRED: [&str; 6] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "InvalidTokenId",
    "TokenRefreshRequired",
];

/// Whether the response says that the keys have expired, or may say so: a response to HEAD has no body.
pub(crate) fn is_expired<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    is_code(error, &EXPIRED)
        || (status(error) == Some(400)
            && error.raw_response().and_then(|r| r.body().bytes()).is_some_and(<[u8]>::is_empty))
}
