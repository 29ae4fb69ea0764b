//! Faults: what can be made to go wrong, and when. By count of requests, so that the same script gives the same faults.

use std::time::Duration;

/// Which requests a fault strikes.
#[derive(Debug, Clone)]
pub enum When {
    /// The n-th API request, counted from 1.
    Nth(u64),
    /// The n-th and every later one.
    From(u64),
    /// Every API request.
    Always,
    /// API requests whose statement contains this text.
    Statement(String),
    /// Requests to the token endpoint.
    Token,
}

/// What happens instead of, or before, the answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, with these headers and this body.
    Status(u16, Vec<(String, String)>, String),
    /// Status 200 and this body.
    Body(Vec<u8>),
    /// The connection is reset before anything is sent.
    Reset,
    /// It is reset after so many bytes of the body.
    ResetInBody(usize),
    /// The connection is closed in good order after so many bytes of the body.
    Truncate(usize),
    /// Nothing happens for so long; then the true answer.
    Stall(Duration),
    /// The true answer, byte by byte, with a pause after each.
    Slow(Duration),
    /// A gzip body that unpacks to so many bytes.
    GzipBomb(u64),
    /// A body that is not what its Content-Encoding says.
    BadGzip,
    /// The true answer is computed and counted, and then lost: the connection is reset.
    LoseAnswer,
}

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";

impl Fault {
    /// A status with a body.
    pub fn status(status: u16, body: &str) -> Fault {
        Fault::Status(
            status,
            vec![("Content-Type".to_owned(), "application/json;charset=utf-8".to_owned())],
            body.to_owned(),
        )
    }

    /// Faults as QuickBooks words them, by name: `401`, `403`, `429`, `429:5` (with Retry-After), `500`, `503`, `503:5`, `504`,
    /// `200-fault`, `4002`, `10000`, `10100`, `html`, `empty`, `reset`, `reset-in-body`, `truncate`, `bad-json`, `redirect`,
    /// `gzip-bomb`, `bad-gzip`, `stall:30`. None: no such fault.
    pub fn named(name: &str) -> Option<Fault> {
        let (word, argument) = name.split_once(':').unwrap_or((name, ""));
        let seconds = argument.to_owned();
        let asked = |status, body: String| {
            let mut headers = vec![("Content-Type".to_owned(), "application/xml".to_owned())];
            if !seconds.is_empty() {
                headers.push(("Retry-After".to_owned(), seconds.clone()));
            }
            Fault::Status(status, headers, body)
        };
        Some(match word {
            "401" => Fault::status(401, &gateway("AuthenticationFailed", "003200", 401, "Token expired: the-token-itself", "3200")),
            "403" => Fault::status(403, &gateway("ApplicationAuthorizationFailed", "003100", 403, "", "3100")),
            "429" => asked(429, xml("3001", "message=ThrottleExceeded; errorCode=003001; statusCode=429", "The request limit was reached.  Try again later")),
            "500" => Fault::status(500, &gateway("InternalServerError", "003100", 500, "", "3100")),
            "503" => asked(503, "<html>\n<head><title>503 Service Temporarily Unavailable</title></head>\n<body bgcolor=\"white\">\n</body>\n</html>".to_owned()),
            "504" => asked(504, xml("6002", "message=GatewayTimeout; errorCode=006002; statusCode=504", "")),
            "200-fault" => Fault::status(200, &service("SystemFault", "6190", "Invalid Company Status", "Subscription ended")),
            "4002" => Fault::status(400, &service("ValidationFault", "4002", "Error processing query", "QueryProcessingError: To email address entered is invalid")),
            "10000" => Fault::status(400, &service("SystemFault", "10000", "An application error has occurred while processing your request", "System Failure Error")),
            "10100" => Fault::status(400, &service("ValidationFault", "10100", "Result Set Big Error", "Result set is too big")),
            "html" => Fault::Body(b"<!doctype html>\n<html><head><title>We'll be back soon</title></head></html>".to_vec()),
            "empty" => Fault::Body(Vec::new()),
            "bad-json" => Fault::Body(b"{\"QueryResponse\":{\"Invoice\":[{\"Id\":\"1\"".to_vec()),
            "reset" => Fault::Reset,
            "reset-in-body" => Fault::ResetInBody(argument.parse().unwrap_or(100)),
            "truncate" => Fault::Truncate(argument.parse().unwrap_or(100)),
            "redirect" => Fault::Status(302, vec![("Location".to_owned(), argument.to_owned())], String::new()),
            "gzip-bomb" => Fault::GzipBomb(argument.parse().unwrap_or(1 << 30)),
            "bad-gzip" => Fault::BadGzip,
            "lose-answer" => Fault::LoseAnswer,
            "stall" => Fault::Stall(Duration::from_secs_f64(argument.parse().unwrap_or(30.0))),
            _ => return None,
        })
    }
}

/// The shape of the service.
pub fn service(kind: &str, code: &str, message: &str, detail: &str) -> String {
    format!(
        "{{\"Fault\":{{\"Error\":[{{\"Message\":{},\"Detail\":{},\"code\":\"{code}\",\"element\":\"\"}}],\"type\":\"{kind}\"}},\"time\":\"{}\"}}",
        serde_json::Value::from(message),
        serde_json::Value::from(detail),
        crate::time::envelope()
    )
}

/// The shape of the gateway: lower case, everything else null.
pub fn gateway(message: &str, error: &str, status: u16, detail: &str, code: &str) -> String {
    let detail =
        if detail.is_empty() { "null".to_owned() } else { serde_json::Value::from(detail).to_string() };
    let kind = if status == 401 { "AUTHENTICATION" } else { "SERVICE" };
    format!(
        "{{\"warnings\":null,\"intuitObject\":null,\"fault\":{{\"error\":[{{\"message\":\"message={message}; errorCode={error}; statusCode={status}\",\"detail\":{detail},\"code\":\"{code}\",\"element\":null}}],\"type\":\"{kind}\"}},\"report\":null,\"queryResponse\":null,\"batchItemResponse\":[],\"attachableResponse\":[],\"syncErrorResponse\":null,\"requestId\":null,\"time\":{},\"status\":null,\"cdcresponse\":[]}}",
        chrono::Utc::now().timestamp_millis()
    )
}

/// The shape of XML, which comes even when JSON was asked for.
pub fn xml(code: &str, message: &str, detail: &str) -> String {
    let detail = if detail.is_empty() { String::new() } else { format!("<Detail>{detail}</Detail>") };
    format!(
        "{XML}\n<IntuitResponse time=\"{}\" xmlns=\"http://schema.intuit.com/finance/v3\">\n    <Fault type=\"SERVICE\">\n        <Error code=\"{code}\">\n            <Message>{message}</Message>\n            {detail}\n        </Error>\n    </Fault>\n</IntuitResponse>",
        crate::time::envelope()
    )
}
