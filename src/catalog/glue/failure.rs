//! Error messages for Glue: the missing permission and what to do, and whether a write may have been applied.

use aws_sdk_glue::error::{ProvideErrorMetadata, SdkError};

use crate::aws::failure::{causes, shorten, without_credentials};
use crate::error::Error;

/// The action that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    GetTable,
    CreateTable,
    UpdateTable,
    GetDatabase,
    CreateDatabase,
}

impl Act {
    /// Continues "cannot …", before the name.
    fn words(self) -> &'static str {
        match self {
            Self::GetTable => "look up the table",
            Self::CreateTable => "create the table",
            Self::UpdateTable => "change the table",
            Self::GetDatabase => "look up the database",
            Self::CreateDatabase => "create the database",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::GetTable => "glue:GetTable",
            Self::CreateTable => "glue:CreateTable",
            Self::UpdateTable => "glue:UpdateTable",
            Self::GetDatabase => "glue:GetDatabase",
            Self::CreateDatabase => "glue:CreateDatabase",
        }
    }

    /// As in Lake Formation's page "Lake Formation permissions reference".
    fn lake_formation(self) -> &'static str {
        match self {
            Self::GetTable => "DESCRIBE on the table",
            Self::CreateTable => "CREATE_TABLE on the database, and DATA_LOCATION_ACCESS on the table's location",
            Self::UpdateTable => "ALTER on the table",
            Self::GetDatabase => "DESCRIBE on the database",
            Self::CreateDatabase => "CREATE_DATABASE, and DATA_LOCATION_ACCESS on the warehouse",
        }
    }
}

const THROTTLED: [&str; 6] = [
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
];

/// Error codes that are returned before anything is changed. Glue's `OperationTimeoutException`,
/// `GlueEncryptionException` and `FederationSourceException` also have status 400, but do not guarantee that.
const REFUSED: [&str; 18] = [
    "AccessDeniedException",
    "AlreadyExistsException",
    "ConcurrentModificationException",
    "EntityNotFoundException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidInputException",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "ResourceNotReadyException",
    "ResourceNumberLimitExceededException",
    "UnrecognizedClientException",
    "ValidationException",
];

pub(super) fn is_code<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.code() == Some(code)
}

/// Whether Glue throttled this request instead of processing it.
pub(super) fn is_throttled<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code().is_some_and(|code| THROTTLED.contains(&code)) || status(error) == Some(429)
}

/// Whether a write was certainly not applied, and will not be. Everything else may have been: a lost answer, a timeout,
/// a failure inside Glue, an unknown code.
pub(super) fn is_refused<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        // Not sent: no credentials, for example.
        SdkError::ConstructionFailure(_) => true,
        SdkError::ServiceError(_) => {
            is_throttled(error)
                || status(error) == Some(403)
                || error.code().is_some_and(|code| REFUSED.contains(&code)) && status(error).is_some_and(|s| s < 500)
        }
        _ => false,
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The error for the user. `name` is the table's or database's name, `place` is where Glue is.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
pub(super) fn failed<E>(act: Act, name: &str, place: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(status) = status(&error) else { return unanswered(act, name, place, &error) };
    let said = Said {
        status,
        code: shorten(error.code().unwrap_or_default()),
        message: shorten(without_request(error.message().unwrap_or_default())),
        request: error.raw_response().and_then(|r| r.headers().get("x-amzn-requestid")).map(shorten),
    };
    said.explain(act, name)
}

/// An answer to a wrong signature repeats the request's headers, including the session token.
fn without_request(message: &str) -> &str {
    message.split_once("The Canonical String").map_or(message, |(text, _)| text)
}

/// No answer: the network failed, or there are no credentials to sign a request with.
fn unanswered<E: std::error::Error + Send + Sync + 'static>(
    act: Act,
    name: &str,
    place: &str,
    error: &SdkError<E>,
) -> Error {
    let words = act.words();
    if let Some(without) = without_credentials(error, &format!("cannot {words} {name} in Glue"), "glue") {
        return without;
    }
    let timed_out = matches!(error, SdkError::TimeoutError(_));
    let what = if timed_out { "Glue did not answer in time" } else { "Glue was not reached" };
    Error::failed(format!("cannot {words} {name}: {what} at {place}"))
        .caused_by(causes(error).join(": "))
        .advice("Check the network, glue.endpoint and the region, then run again")
}

/// An error response.
struct Said {
    status: u16,
    code: String,
    message: String,
    request: Option<String>,
}

impl Said {
    fn explain(&self, act: Act, name: &str) -> Error {
        let cannot = format!("cannot {} {name} in Glue", act.words());
        let detail = self.detail();
        let lower = self.message.to_lowercase();
        match self.code.as_str() {
            "ExpiredTokenException" | "RequestExpired" => Error::failed(format!(
                "{cannot}: the AWS credentials have expired, or this machine's clock is wrong{detail}"
            ))
            .advice("Sign in again (aws sso login), then run the command again"),
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException" => Error::failed(format!(
                "{cannot}: Glue does not take the AWS credentials{detail}"
            ))
            .advice("Check the access key and secret (AWS_*, the profile, or glue.access-key-id), and the region"),
            _ if lower.contains("lake formation") => Error::failed(format!(
                "{cannot}: Lake Formation denies it; this takes {}{detail}",
                act.lake_formation()
            ))
            .advice("Ask an administrator of the data lake to grant it (aws lakeformation grant-permissions)"),
            "AccessDeniedException" | "NotAuthorized" => {
                Error::failed(format!("{cannot}: access denied; this takes {}{detail}", act.action())).advice(
                    "Grant the permission, on the catalog, the database and the table, or use credentials that have it",
                )
            }
            "EntityNotFoundException" => {
                Error::failed(format!("{cannot}: the database or the table does not exist{detail}"))
                    .advice("Check the names, glue.id and the region")
            }
            "ResourceNumberLimitExceededException" => Error::failed(format!(
                "{cannot}: a limit of the account is reached{detail}"
            ))
            .advice("If it is the number of table versions, let glue.skip-archive be true and delete old versions"),
            _ if lower.contains("payload size") || lower.contains("exceeded the maximum allowed size") => {
                Error::failed(format!("{cannot}: the table has more columns than Glue can hold{detail}")).advice(
                    "Leave attributes out in the schema file, or turn wide structs into maps (--max-struct-fields)",
                )
            }
            _ if THROTTLED.contains(&self.code.as_str()) || self.status == 429 => {
                Error::failed(format!("{cannot}: too many requests of this account{detail}"))
                    .advice("Run it again later, or raise glue.max-retries")
            }
            _ if self.status == 403 => {
                Error::failed(format!("{cannot}: access denied; this takes {}{detail}", act.action()))
                    .advice("Grant the permission, or use credentials that have it")
            }
            _ => Error::failed(format!("{cannot}: Glue refused or failed{detail}"))
                .advice("If this goes on, look at the AWS Health Dashboard"),
        }
    }

    /// ` (400 AccessDeniedException: …, request …)`.
    fn detail(&self) -> String {
        let mut text = format!(" ({}", self.status);
        for (before, part) in
            [(" ", Some(&self.code)), (": ", Some(&self.message)), (", request ", self.request.as_ref())]
        {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                text.push_str(before);
                text.push_str(part);
            }
        }
        text.push(')');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_named() {
        for (status, code, message, act, expected) in [
            (400, "AccessDeniedException", "User: x is not authorized", Act::UpdateTable, "glue:UpdateTable"),
            (
                400,
                "AccessDeniedException",
                "Insufficient Lake Formation permission(s) on orders",
                Act::UpdateTable,
                "takes alter on the table",
            ),
            (400, "ExpiredTokenException", "", Act::GetTable, "aws sso login"),
            (400, "UnrecognizedClientException", "", Act::GetTable, "does not take the aws credentials"),
            (400, "InvalidInputException", "Payload size of request exceeded limit", Act::UpdateTable, "more columns"),
            (400, "ThrottlingException", "Rate exceeded", Act::CreateTable, "glue.max-retries"),
            (403, "", "", Act::CreateDatabase, "glue:createdatabase"),
            (402, "", "", Act::CreateDatabase, "glue refused or failed"),
            (429, "", "", Act::CreateTable, "too many requests"),
            (400, "EntityNotFoundException", "", Act::GetTable, "check the names, glue.id and the region"),
            (400, "ResourceNumberLimitExceededException", "", Act::UpdateTable, "glue.skip-archive"),
            (400, "AccessDeniedException", "", Act::GetTable, "cannot look up the table shop.orders in glue"),
            (500, "InternalServiceException", "boo", Act::GetTable, "500 internalserviceexception: boo, request req1"),
        ] {
            let said =
                Said { status, code: code.to_owned(), message: message.to_owned(), request: Some("REQ1".to_owned()) };
            let text = said.explain(act, "shop.orders").to_string().to_lowercase();
            assert!(text.contains(&expected.to_lowercase()) && text.contains("shop.orders"), "{text}");
        }
    }

    /// What Glue may have done before it failed is not taken for refused.
    #[test]
    fn only_what_surely_was_not_done_is_refused() {
        use aws_sdk_glue::error::ErrorMetadata;
        use aws_sdk_glue::operation::update_table::UpdateTableError;
        use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
        use aws_smithy_runtime_api::http::StatusCode;
        use aws_smithy_types::body::SdkBody;

        let answer = |code: &str, status: u16| {
            let error = UpdateTableError::generic(ErrorMetadata::builder().code(code).build());
            let raw = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
            SdkError::service_error(error, raw)
        };
        for (code, status, refused) in [
            (REFUSED[0], 400, true),
            (REFUSED[0], 499, true),
            (REFUSED[0], 500, false),
            (REFUSED[0], 503, false),
            ("NobodyKnows", 400, false),
            ("NobodyKnows", 403, true),
            ("NobodyKnows", 429, true),
            ("NobodyKnows", 500, false),
            (THROTTLED[0], 400, true),
        ] {
            assert_eq!(is_refused(&answer(code, status)), refused, "{code} {status}");
        }
        assert!(is_refused(&SdkError::<UpdateTableError>::construction_failure("no credentials")));
        assert!(!is_refused(&SdkError::<UpdateTableError>::timeout_error("too late")));
    }

    #[test]
    fn a_message_that_repeats_the_request_is_cut() {
        let message = "The signature is wrong.\n\nThe Canonical String for this request should have been\n'token:hush'";
        assert_eq!(without_request(message).trim(), "The signature is wrong.");
    }
}
