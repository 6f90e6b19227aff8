//! Limits responses of AWS services and compatible servers: the SDK collects all of them except objects in memory.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// A page of a listing has at most 1,000 keys of 1,024 bytes, each of which XML may escape as six; a Glue table is
/// smaller.
const MOST_OF_AN_ANSWER: usize = 16 << 20;
/// Maximum size of an error response.
const MOST_OF_AN_ERROR: usize = 1 << 20;

/// A client whose responses fail if they are longer than any valid one.
#[derive(Debug)]
pub(crate) struct AnswerLimit(pub(crate) SharedHttpClient);

impl HttpClient for AnswerLimit {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Limiting(self.0.http_connector(settings, components)))
    }
}

#[derive(Debug)]
struct Limiting(SharedHttpConnector);

impl HttpConnector for Limiting {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Objects are read in pieces by code that knows how much was requested.
        let object = request.uri().contains("x-id=GetObject");
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            Ok(match (answer.status().is_success(), object) {
                (true, true) => answer,
                (true, false) => limited(answer, MOST_OF_AN_ANSWER),
                (false, _) => limited(answer, MOST_OF_AN_ERROR),
            })
        })
    }
}

fn limited(answer: HttpResponse, limit: usize) -> HttpResponse {
    answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, limit)))
}
