//! The query API: one request, one answer.

use super::lost::lost;
use crate::domain::fetch::{Lost, Reply};
use crate::domain::secret::Secret;
use ureq::Agent;

/// The minor version every request names. Intuit ignores older ones since August 2025; this guards against the next change.
pub const MINOR_VERSION: &str = "75";

/// A longer transaction id is none of Intuit's; it would end up in report rows.
const LONGEST_TID: usize = 200;

/// Sends a statement. POST, so that neither its length nor its characters depend on what a URL can carry. The answer is
/// whole or it is `Lost`; a body longer than `max_body` bytes, after decompression, is lost as `TooLarge`.
pub fn query(
    agent: &Agent,
    base: &str,
    realm: &str,
    token: &Secret,
    statement: &str,
    max_body: u64,
) -> Result<Reply, Lost> {
    let url = format!("{base}/v3/company/{realm}/query?minorversion={MINOR_VERSION}");
    let mut response = agent
        .post(url)
        .header("Authorization", format!("Bearer {}", token.expose()))
        .header("Content-Type", "application/text")
        .send(statement)
        .map_err(|error| lost(&error))?;
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = header("retry-after");
    let date = header("date");
    let intuit_tid =
        header("intuit_tid").or_else(|| header("intuit-tid")).filter(|tid| tid.len() <= LONGEST_TID);
    let status = response.status().as_u16();
    let body =
        response.body_mut().with_config().limit(max_body).read_to_vec().map_err(|error| lost(&error))?;
    Ok(Reply { status, retry_after, intuit_tid, date, body })
}
