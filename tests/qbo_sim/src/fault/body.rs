//! Bodies of faults in the three shapes they come in: the service's JSON, the gateway's JSON, and XML. Pure but for
//! the clock.

use crate::record::quote;
use crate::time;
use chrono::Utc;

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";

/// The maintenance page that came with status 200.
pub const BACK_SOON: &str = "\n\n\n<!doctype html>\n<html lang=\"en\">\n\t<head>\
    \n\t\t<meta charset=\"utf-8\">\n\t\t<title>\n\t\t\tWe'll be back soon\n\t\t</title>\
    \n\t</head>\n\t<body></body>\n</html>\n";

/// A load balancer's page.
pub const UNAVAILABLE: &str = "<html>\n<head><title>503 Service Temporarily Unavailable</title>\
    </head>\n<body bgcolor=\"white\">\n<center><h1>503 Service Temporarily Unavailable</h1>\
    </center>\n<hr><center>Avi Vantage/</center>\n</body>\n</html>\n";

/// A proxy's page.
pub const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\
    \r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\
    \r\n</body>\r\n</html>\r\n";

/// What the Apache in front says to a statement that is too long.
pub const TOO_LARGE: &str = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\
    \n<html><head>\n<title>413 Request Entity Too Large</title>\n</head><body>\n\
    <h1>Request Entity Too Large</h1>\n</body></html>\n";

/// The shape of the service.
pub fn service(kind: &str, code: &str, message: &str, detail: &str) -> String {
    element(kind, code, message, detail, "")
}

/// The same, about an element.
pub fn element(kind: &str, code: &str, message: &str, detail: &str, element: &str) -> String {
    format!(
        "{{\"Fault\":{{\"Error\":[{{\"Message\":{},\"Detail\":{},\"code\":\"{code}\",\
         \"element\":\"{element}\"}}],\"type\":\"{kind}\"}},\"time\":\"{}\"}}",
        quoted(message),
        quoted(detail),
        time::envelope(Utc::now())
    )
}

/// The shape of the gateway: lower case, everything else null, its time a number.
pub fn gateway(message: &str, error: &str, status: u16, detail: &str, code: &str) -> String {
    let detail = if detail.is_empty() { "null".to_owned() } else { quoted(detail) };
    let kind = if status == 401 { "AUTHENTICATION" } else { "SERVICE" };
    format!(
        "{{\"warnings\":null,\"intuitObject\":null,\"fault\":{{\"error\":[{{\"message\":\"message={message}; \
         errorCode={error}; statusCode={status}\",\"detail\":{detail},\"code\":\"{code}\",\
         \"element\":null}}],\"type\":\"{kind}\"}},\"report\":null,\"queryResponse\":null,\
         \"batchItemResponse\":[],\"attachableResponse\":[],\"syncErrorResponse\":null,\
         \"requestId\":null,\"time\":{},\"status\":null,\"cdcresponse\":[]}}",
        Utc::now().timestamp_millis()
    )
}

/// The shape of XML, which comes even when JSON was asked for.
pub fn xml(kind: &str, code: &str, message: &str, detail: &str) -> String {
    let detail = if detail.is_empty() {
        String::new()
    } else {
        format!("\n            <Detail>{}</Detail>", escaped(detail))
    };
    format!(
        "{XML}\n<IntuitResponse time=\"{}\" xmlns=\"http://schema.intuit.com/finance/v3\">\
         \n    <Fault type=\"{kind}\">\n        <Error code=\"{code}\">\n            \
         <Message>{}</Message>{detail}\n        </Error>\n    </Fault>\n</IntuitResponse>",
        time::envelope(Utc::now()),
        escaped(message),
    )
}

/// The gateway refuses a token, and echoes it.
pub fn token_expired(token: &str) -> String {
    gateway("AuthenticationFailed", "003200", 401, &format!("Token expired: {token}"), "3200")
}

/// The gateway refuses what is no token.
pub fn token_malformed() -> String {
    gateway("AuthenticationFailed", "003200", 401, "Malformed bearer token: too short or too long", "3200")
}

/// The realm is not connected to this app, or lives on the other host.
pub fn not_authorized() -> String {
    gateway("ApplicationAuthorizationFailed", "003100", 403, "", "3100")
}

/// The company lives on other servers.
pub fn wrong_cluster() -> String {
    let detail = "WrongClusterError: -11017-You have accessed the wrong server.  \
        You will now be redirected. , statusCode: 401";
    xml("AuthenticationFault", "130", "Accessing Wrong Cluster", detail)
}

/// Too many requests.
pub fn throttled(status: u16) -> String {
    let message = format!("message=ThrottleExceeded; errorCode=003001; statusCode={status}");
    xml("SERVICE", "3001", &message, "The request limit was reached.  Try again later")
}

/// There is no such path.
pub fn unsupported(path: &str) -> String {
    let detail = format!(
        "Operation Could not find resource for relative : {path} of full path: https://c10.qbo.intuit.com/qbo10{path} \
         is not supported."
    );
    service("ValidationFault", "500", "Unsupported Operation", &detail)
}

/// There is no such record, or no more.
pub fn not_found() -> String {
    let detail = "Object Not Found : Another user has deleted this transaction.";
    service("ValidationFault", "610", "Object Not Found", detail)
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(&mut out, text);
    out
}

/// A text as XML has it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
