//! The address that Intuit sends the browser back to after the consent, as a person pastes it.

use crate::error::{Error, Result};
use oauth2::url::{Url, form_urlencoded};

/// What the address says that a browser was sent back to.
pub struct Callback {
    pub code: String,
    pub state: String,
    pub realm: String,
}

/// Longest value that is taken for one; Intuit's are far shorter.
const LONGEST: usize = 4_096;

/// Reads the address, or only what stands behind its question mark. No part of it is ever repeated: it holds the code.
pub fn read(text: &str) -> Result<Callback> {
    let wrong = |problem: &str| Error::Consent {
        problem: problem.to_owned(),
        hint: Some("Paste the whole address that the browser was sent back to, from https:// on.".to_owned()),
    };
    let text = text.trim();
    let query = match Url::parse(text) {
        Ok(url) => url.query().unwrap_or_default().to_owned(),
        Err(_) => text.rsplit('?').next().unwrap_or_default().to_owned(),
    };
    let mut callback = Callback { code: String::new(), state: String::new(), realm: String::new() };
    let mut refused = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let slot = match name.as_ref() {
            "code" => &mut callback.code,
            "state" => &mut callback.state,
            "realmId" => &mut callback.realm,
            "error" => {
                refused = Some(value.into_owned());
                continue;
            }
            _ => continue,
        };
        if !slot.is_empty() {
            return Err(wrong("a part of the address stands in it twice"));
        }
        *slot = value.into_owned();
    }
    if refused.as_deref() == Some("access_denied") {
        return Err(Error::Consent {
            problem: "whoever was asked clicked on Cancel".to_owned(),
            hint: Some("Open a new URL from raw.qb_authorize_url and click on Connect.".to_owned()),
        });
    }
    if refused.is_some() {
        return Err(Error::Consent {
            problem: "Intuit says that there was an error".to_owned(),
            hint: Some("Is the app's scope accounting? Open a new URL from raw.qb_authorize_url.".to_owned()),
        });
    }
    let sane = |value: &str| {
        !value.is_empty() && value.len() <= LONGEST && value.bytes().all(|b| b.is_ascii_graphic())
    };
    for (name, value) in [("code", &callback.code), ("state", &callback.state)] {
        if !sane(value) {
            return Err(wrong(&format!("the address has no {name}")));
        }
    }
    let digits = callback.realm.bytes().all(|b| b.is_ascii_digit());
    if callback.realm.is_empty() || callback.realm.len() > 20 || !digits {
        return Err(wrong("the address has no realmId"));
    }
    Ok(callback)
}
