//! Faults by name, worded as QuickBooks words them. A name can have an argument behind a colon: `429:5`,
//! `stall:30`. Pure.

use super::{Bend, Edit, Fault, Framing, Place, body};
use std::time::Duration;

/// The names, and what they do.
pub const NAMES: &[(&str, &str)] = &[
    ("401", "the access token is refused, and echoed (3200)"),
    ("401-100, 401-130", "general authentication error; wrong cluster (XML)"),
    ("403, 403-120, 403-scope", "not authorized (3100); no access (120); insufficient scope (XML)"),
    ("403-throttle, 429, 429:SECONDS", "throttled (XML), with Retry-After; as text too: 429:soon"),
    ("500, 502, 503, 503:SECONDS, 504", "gateway JSON, HTML, HTML with Retry-After, XML"),
    ("404, 413, STATUS", "any other status, with an empty body"),
    ("4002, 10000, 10100", "a poisoned page; an inactive reference; a page too big (status 400)"),
    ("610, 4001, 5020, 5030, 6000, 6190", "other faults of the service (status 400)"),
    ("200-fault, 200-throttle", "a fault with status 200"),
    ("html, empty, bad-json, bad-json:TEXT", "status 200 and no good body"),
    ("bom, trailing-garbage, two-documents, invalid-utf8, utf-16", "the true body, spoiled"),
    (
        "null-fault, nested-fault, no-response, response-null, response-array, lower-case-key, other-key",
        "odd shapes",
    ),
    ("total-count:N, max-results:N, start-position:N, twice-the-first", "counters that lie; a row twice"),
    ("first-page, one-more, at-most:N", "STARTPOSITION ignored; a row more, or fewer, than asked for"),
    (
        "reset, reset-status, reset-headers, reset-in-body:N, reset-end",
        "the connection is reset at this place",
    ),
    ("truncate:N, length:N, two-lengths, length-and-chunks, bad-chunk, no-last-chunk", "framing that lies"),
    ("until-close, close-idle", "no length; the connection is closed after a good answer"),
    ("stall:S, stall-in-body:S, slow:S", "seconds of silence; seconds after each byte"),
    ("gzip-bomb:N, bad-gzip, short-gzip, bad-gzip-sum", "bad compression"),
    ("redirect:URL, redirect-301:URL, redirect-307:URL, redirect-308:URL", "a redirect"),
    ("http-0.9, http-1.0, http-2, garbage, early-hints, many-headers, huge-header, bad-header", "bad heads"),
    ("lose-answer", "done, but the answer is lost"),
];

impl Fault {
    /// A fault by its name (`NAMES`). None: no such fault.
    pub fn named(name: &str) -> Option<Fault> {
        let (word, argument) = name.split_once(':').unwrap_or((name, ""));
        let seconds =
            |default: f64| Duration::from_secs_f64(argument.parse().unwrap_or(default).clamp(0.0, 1e6));
        let number = |default: usize| argument.parse().unwrap_or(default);
        Some(match word {
            "401" | "401-expired" => Fault::Unauthorized,
            "reset" => Fault::Reset,
            "reset-status" => Fault::ResetAt(Place::StatusLine),
            "reset-headers" => Fault::ResetAt(Place::Headers),
            "reset-in-body" => Fault::ResetInBody(number(100)),
            "reset-end" => Fault::ResetAt(Place::End),
            "truncate" => Fault::Truncate(number(100)),
            "length" => Fault::Framing(Framing::Length(argument.parse().unwrap_or(100))),
            "two-lengths" => Fault::Framing(Framing::TwoLengths),
            "length-and-chunks" => Fault::Framing(Framing::LengthAndChunks),
            "bad-chunk" => Fault::Framing(Framing::BadChunk),
            "no-last-chunk" => Fault::Framing(Framing::NoLastChunk),
            "until-close" => Fault::Framing(Framing::UntilClose),
            "close-idle" => Fault::Framing(Framing::CloseIdle),
            "short-gzip" => Fault::Framing(Framing::ShortGzip),
            "bad-gzip-sum" => Fault::Framing(Framing::BadSum),
            "stall" => Fault::Stall(seconds(30.0)),
            "stall-in-body" => Fault::StallInBody(seconds(30.0)),
            "slow" => Fault::Slow(seconds(1.0)),
            "gzip-bomb" => Fault::GzipBomb(argument.parse().unwrap_or(1 << 30)),
            "bad-gzip" => Fault::BadGzip,
            "lose-answer" => Fault::LoseAnswer,
            "first-page" => Fault::Bend(Bend::FirstPage),
            "one-more" => Fault::Bend(Bend::OneMore),
            "at-most" => Fault::Bend(Bend::AtMost(number(1))),
            "html" => Fault::Body(body::BACK_SOON.into()),
            "empty" => Fault::Body(Vec::new()),
            "bad-json" if argument.is_empty() => {
                Fault::Body(b"{\"QueryResponse\":{\"Invoice\":[{\"Id\":\"1\"".to_vec())
            }
            "bad-json" => Fault::Body(argument.into()),
            _ => match Edit::named(word, argument) {
                Some(edit) => Fault::Edit(edit),
                None => raw(word).map(Fault::Raw).or_else(|| status(word, argument))?,
            },
        })
    }
}

/// Answers that are a status and a body.
fn status(word: &str, argument: &str) -> Option<Fault> {
    let answer = |status: u16, kind: &str, body: String| {
        let mut headers = vec![("Content-Type".to_owned(), kind.to_owned())];
        if !argument.is_empty() {
            headers.push(("Retry-After".to_owned(), argument.to_owned()));
        }
        Fault::Status(status, headers, body)
    };
    let xml = |status, body| answer(status, "application/xml", body);
    let gateway = |status, body| answer(status, "application/json", body);
    let service = |kind: &str, code: &str, message: &str, detail: &str| {
        Fault::status(400, &body::service(kind, code, message, detail))
    };
    Some(match word {
        "401-100" => {
            let detail = "AuthenticationErrorGeneral: SRV-110-Authentication Failure , statusCode: 401";
            xml(401, body::xml("AuthenticationFault", "100", "General Authentication Error", detail))
        }
        "401-130" => xml(401, body::wrong_cluster()),
        "403" | "403-3100" => gateway(403, body::not_authorized()),
        "403-120" => {
            let detail = "AuthorizationFailure: -11014-You do not have access to \
                use QuickBooks Online, statusCode: 403";
            xml(403, body::xml("AuthorizatonFault", "120", "Authorization Failure", detail))
        }
        "403-scope" => {
            let message = "message=AuthorizationFailed; errorCode=003100; statusCode=403";
            xml(403, body::xml("SERVICE", "3100", message, "The access token does not have sufficient scope"))
        }
        "403-throttle" => xml(403, body::throttled(403)),
        "429" => xml(429, body::throttled(429)),
        "500" => gateway(500, body::gateway("InternalServerError", "003100", 500, "", "3100")),
        "502" => answer(502, "text/html", body::BAD_GATEWAY.to_owned()),
        "503" | "503-html" => answer(503, "text/html", body::UNAVAILABLE.to_owned()),
        "504" => {
            let message = "message=GatewayTimeout; errorCode=006002; statusCode=504";
            xml(504, body::xml("SERVICE", "6002", message, ""))
        }
        "413" => answer(413, "text/html", body::TOO_LARGE.to_owned()),
        "200-fault" => Fault::in_200("6190", "Invalid Company Status", "Subscription ended"),
        "200-throttle" => xml(200, body::throttled(429)),
        "610" => Fault::status(400, &body::not_found()),
        "4001" => service("ValidationFault", "4001", "Invalid query", "QueryValidationError: made up"),
        "4002" => {
            let detail = "QueryProcessingError: To email address entered is invalid";
            service("ValidationFault", "4002", "Error processing query", detail)
        }
        "5020" => {
            let detail = "Permission Denied Error : You do not have the access rights to use this feature.";
            service("ValidationFault", "5020", "Permission Denied Error", detail)
        }
        "5030" => {
            service("ValidationFault", "5030", "Feature Not Supported Error", "Feature Not Supported Error")
        }
        "6000" => {
            let message = "A business validation error has occurred while processing your request";
            service(
                "ValidationFault",
                "6000",
                message,
                "Business Validation Error: Unexpected Internal Error. (-30000)",
            )
        }
        "6190" => {
            service("ValidationFault", "6190", "Invalid Company Status", "Subscription period has ended")
        }
        "10000" => {
            let message = "An application error has occurred while processing your request";
            let detail = "System Failure Error: Something you're trying to use has \
                been made inactive. Check the fields with accounts, customers, items, \
                vendors or employees.";
            service("SystemFault", "10000", message, detail)
        }
        "10100" => service("ValidationFault", "10100", "Result Set Big Error", "Result set is too big"),
        _ => return status_with(word, argument),
    })
}

/// `redirect-307:URL`, `429-retry-after-5`, and plain numbers.
fn status_with(word: &str, argument: &str) -> Option<Fault> {
    if let Some(code) = word.strip_prefix("redirect") {
        return Some(Fault::redirect(code.trim_start_matches('-').parse().unwrap_or(302), argument));
    }
    if let Some((number, after)) = word.split_once("-retry-after-") {
        return Fault::named(&format!("{number}:{after}"));
    }
    let number: u16 = word.parse().ok().filter(|number| (100..1000).contains(number))?;
    Some(Fault::Status(number, Vec::new(), String::new()))
}

/// Heads that are no good HTTP/1.1.
fn raw(word: &str) -> Option<Vec<u8>> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n";
    let end = "\r\n{\"QueryResponse\":{}}";
    Some(match word {
        "http-0.9" => b"{\"QueryResponse\":{}}".to_vec(),
        "http-1.0" => {
            b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"QueryResponse\":{}}".to_vec()
        }
        "http-2" => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        "garbage" => (0..=255u8).cycle().take(4_096).collect(),
        "early-hints" => {
            format!("{}{ok}{end}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000)).into_bytes()
        }
        "many-headers" => {
            let many: String = (0..10_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
            format!("{ok}{many}{end}").into_bytes()
        }
        "huge-header" => format!("{ok}X-Huge: {}\r\n{end}", "h".repeat(100_000)).into_bytes(),
        "bad-header" => format!("{ok}no colon here\r\n : no name\r\n folded\x01\r\n{end}").into_bytes(),
        _ => return None,
    })
}
