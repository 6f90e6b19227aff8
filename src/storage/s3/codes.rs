//! HTTP status and error codes of S3's answers.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// The status of the answer, if there was one.
pub(crate) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether the answer has this error code.
pub(crate) fn is_code<E: ProvideErrorMetadata>(error: &SdkError<E>, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}

/// What S3 and servers like it answer to keys that have expired or were taken back.
const EXPIRED: [&str; 6] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "InvalidTokenId",
    "TokenRefreshRequired",
];

/// Whether the answer says that the keys have expired, or may: one to HEAD has no body that could.
pub(crate) fn is_expired<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    is_code(error, &EXPIRED)
        || (status(error) == Some(400)
            && error.raw_response().and_then(|r| r.body().bytes()).is_some_and(<[u8]>::is_empty))
}
