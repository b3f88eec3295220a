//! One request, asked again while that may help.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::endpoint::Endpoint;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For a connection.
    pub connect: Duration,
    /// For one answer, from the first byte sent to the last one received.
    pub answer: Duration,
    /// Before asking a second time; twice as long before each further time.
    pub first_wait: Duration,
    /// From the first time asked to the last.
    pub all: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            first_wait: Duration::from_millis(500),
            all: Duration::from_secs(120),
        }
    }
}

/// Busy endpoints say how long to wait; what they do not say in so many times, they do not say.
const TRIES_MAX: usize = 6;
/// Of an error's explanation; what is longer is a page for a browser.
const EXPLANATION_BYTES_MAX: u64 = 64 << 10;
const EXPLANATION_CHARS_SHOWN: usize = 200;

/// Why a request has no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The endpoint may answer later.
    Later(String),
    /// The endpoint does not take what was sent; less of it may do.
    Refused(String),
    /// Something is to be set right first.
    Unusable { reason: String, remedy: String },
    /// It is no answer.
    Wrong(String),
}

/// One time asked: the failure, and how long the endpoint wants to be left alone.
struct Miss {
    failure: Failure,
    wait: Option<Duration>,
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self { failure, wait: None }
    }
}

/// Asks an endpoint.
pub struct Client {
    endpoint: Endpoint,
    agent: Agent,
    pace: Pace,
}

impl Client {
    pub fn new(endpoint: Endpoint, pace: Pace) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&if endpoint.is_encrypted { trusted() } else { Vec::new() }))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Elsewhere is not where the user said.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(pace.connect))
            .timeout_global(Some(pace.answer))
            .user_agent(concat!("kithdb/", env!("CARGO_PKG_VERSION")));
        if endpoint.is_loopback {
            config = config.proxy(None);
        }
        Self { agent: config.build().into(), endpoint, pace }
    }

    /// Sends a request and reads its answer, of so many bytes at most, by `read`.
    pub fn ask<T>(
        &self,
        request: &[u8],
        answer_bytes_max: u64,
        read: impl Fn(&[u8]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let mut wait = self.pace.first_wait;
        for tried in 1.. {
            let miss = match self.once(request, answer_bytes_max).and_then(|bytes| read(&bytes).map_err(Miss::from)) {
                Ok(answer) => return Ok(answer),
                Err(miss) => miss,
            };
            let Failure::Later(reason) = miss.failure else { return Err(miss.failure) };
            let pause = miss.wait.unwrap_or(wait).max(self.pace.first_wait);
            if tried == TRIES_MAX || start.elapsed() + pause > self.pace.all {
                return Err(Failure::Later(format!("{reason}, asked {tried} times")));
            }
            tracing::debug!(reason, ?pause, "the endpoint of embeddings is asked again");
            thread::sleep(pause);
            wait *= 2;
        }
        Err(Failure::Later("it was not asked".to_owned()))
    }

    fn once(&self, request: &[u8], answer_bytes_max: u64) -> Result<Vec<u8>, Miss> {
        let mut post = self.agent.post(&self.endpoint.url).header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = self.endpoint.key.as_ref().and_then(|key| key.header()) {
            post = post.header(header::AUTHORIZATION, key);
        }
        let mut response = post.send(request).map_err(|error| self.unsent(&error))?;
        if !response.status().is_success() {
            return Err(self.turned_down(&mut response));
        }
        match response.body_mut().with_config().limit(answer_bytes_max).read_to_vec() {
            Ok(bytes) => Ok(bytes),
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                Err(Failure::Wrong(format!("it is longer than {answer_bytes_max} bytes")).into())
            }
            Err(error) => Err(self.unsent(&error)),
        }
    }

    /// What a failure below HTTP means.
    fn unsent(&self, error: &ureq::Error) -> Miss {
        let said = self.hidden(&error.to_string());
        match error {
            // A certificate that is not trusted will not be a minute later.
            error if is_of_tls(error) => Failure::Unusable {
                reason: format!("there is no safe connection to the endpoint: {said}"),
                remedy: "its address must be one of TLS, and its certificate one that this system trusts".to_owned(),
            },
            ureq::Error::Timeout(_) => Failure::Later(format!("no answer within {:?}", self.pace.answer)),
            _ => Failure::Later(format!("the endpoint cannot be reached: {said}")),
        }
        .into()
    }

    /// What a status other than success means.
    fn turned_down(&self, response: &mut Response<Body>) -> Miss {
        let status = response.status();
        let wait = pause_asked_for(response);
        let body = response.body_mut().with_config().limit(EXPLANATION_BYTES_MAX).read_to_vec().unwrap_or_default();
        let (explanation, code) = explanation(&body);
        let said = if explanation.is_empty() { String::new() } else { format!(": {}", self.hidden(&explanation)) };
        let reason = format!("the endpoint says {}{said}", status.as_u16());
        let failure = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Unusable {
                // What it says of a key may hold parts of it.
                reason: format!("the endpoint says {}, the key is not right", status.as_u16()),
                remedy: "set OPENAI_API_KEY or, for another endpoint, KITHDB_EMBEDDINGS_KEY to one that is".to_owned(),
            },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Failure::Unusable {
                reason,
                remedy: "the model's name must be one that the endpoint has, and KITHDB_EMBEDDINGS_URL its address up to /v1"
                    .to_owned(),
            },
            StatusCode::TOO_MANY_REQUESTS if code == "insufficient_quota" => {
                Failure::Unusable { reason, remedy: "pay, or use another key or endpoint".to_owned() }
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Failure::Refused(reason)
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Failure::Later(reason)
            }
            _ if status.is_server_error() => Failure::Later(reason),
            _ if status.is_redirection() => Failure::Unusable {
                reason: format!("the endpoint says {}, it is elsewhere", status.as_u16()),
                remedy: "set KITHDB_EMBEDDINGS_URL to where it is".to_owned(),
            },
            _ => Failure::Unusable { reason, remedy: "see KITHDB_EMBEDDINGS_URL and the model's name".to_owned() },
        };
        Miss { failure, wait }
    }

    fn hidden(&self, text: &str) -> String {
        let text = self.endpoint.key.as_ref().map_or_else(|| text.to_owned(), |key| key.hide_in(text));
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXPLANATION_CHARS_SHOWN).collect()
    }
}

/// The certificates that the system trusts; those that cannot be read are left out.
fn trusted() -> Vec<Certificate<'static>> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    certificates.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect()
}

fn is_of_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

/// `Retry-After`, in seconds or as a date.
fn pause_asked_for(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

/// The message and the code in an error's body, each empty if it has none: `{"error": {"message": …, "code": …}}`, or the former as a text.
fn explanation(body: &[u8]) -> (String, String) {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let error = &json["error"];
    (text(if error.is_string() { error } else { &error["message"] }), text(&error["code"]))
}
