//! The frame of an answer: whether it is a list of what was asked for, and where its rows are. It is read in one go.

use super::PageError;
use super::object::{Keys, List, Object, not_null};
use crate::domain::entity::Entity;
use crate::domain::fault::Fault;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use serde_json::value::RawValue;

/// What stands in an answer.
pub struct Answer<'a> {
    /// The rows; none where the answer is empty, as QuickBooks says it: `{}`.
    pub rows: Vec<&'a RawValue>,
    /// What it claims as totalCount.
    pub total: Option<u64>,
}

/// Reads an answer to a query for `entity`; without one, to a COUNT(*).
pub fn read<'a>(entity: Option<&Entity>, body: &'a str) -> Result<Answer<'a>, PageError> {
    let mut json = serde_json::Deserializer::from_str(body.trim_start_matches('\u{feff}'));
    let empty = Envelope { entity, fault: None, response: None };
    let envelope = Object(empty).deserialize(&mut json).and_then(|envelope| json.end().map(|()| envelope));
    let Some(envelope) = envelope.map_err(|error| PageError::BadJson { message: error.to_string() })? else {
        return shape("the answer is no object".to_owned());
    };
    let response = match (envelope.fault, envelope.response) {
        (Some(fault), _) => return Err(PageError::Fault(Fault::from_json(200, fault.get()))),
        (None, None) => return shape("there is no QueryResponse".to_owned()),
        (None, Some(None)) => return shape("QueryResponse is no object".to_owned()),
        (None, Some(Some(response))) => response,
    };
    if let Some(fault) = response.fault {
        return Err(PageError::Fault(Fault::from_json(200, fault.get())));
    }
    let rows = match (response.list, response.other, entity) {
        (Some((_, Some(rows))), ..) => rows,
        (Some((key, None)), ..) => return shape(format!("{key} is no list")),
        (None, Some((key, kind)), Some(entity)) => {
            let key: String = key.chars().take(40).collect();
            return shape(format!("there is {kind} \"{key}\" instead of \"{}\"", entity.key));
        }
        (None, ..) => Vec::new(),
    };
    Ok(Answer { rows, total: response.total })
}

fn shape<T>(what: String) -> Result<T, PageError> {
    Err(PageError::UnexpectedShape { what })
}

/// The outermost object. Where a key repeats the last one counts, as it does for jsonb.
struct Envelope<'e, 'a> {
    entity: Option<&'e Entity>,
    fault: Option<&'a RawValue>,
    response: Option<Option<Response<'e, 'a>>>,
}

/// The value of QueryResponse.
struct Response<'e, 'a> {
    entity: Option<&'e Entity>,
    fault: Option<&'a RawValue>,
    total: Option<u64>,
    /// What stands under the entity's key.
    list: Option<(String, Option<Vec<&'a RawValue>>)>,
    /// The first other list or object.
    other: Option<(String, &'static str)>,
}

impl<'a> Keys<'a> for Envelope<'_, 'a> {
    fn take<M: MapAccess<'a>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "Fault" | "fault" => self.fault = not_null(map.next_value()?).or(self.fault),
            "QueryResponse" => {
                let entity = self.entity;
                let empty = Response { entity, fault: None, total: None, list: None, other: None };
                self.response = Some(map.next_value_seed(Object(empty))?);
            }
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'a> Keys<'a> for Response<'_, 'a> {
    fn take<M: MapAccess<'a>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "Fault" | "fault" => self.fault = not_null(map.next_value()?).or(self.fault),
            "totalCount" => self.total = map.next_value::<&RawValue>()?.get().parse().ok(),
            "Warnings" | "startPosition" | "maxResults" => {
                map.next_value::<IgnoredAny>()?;
            }
            key if self.entity.is_some_and(|entity| key == entity.key || Some(key) == entity.also) => {
                self.list = Some((key.to_owned(), map.next_value_seed(List)?));
            }
            key => {
                let kind = match map.next_value::<&RawValue>()?.get().bytes().next() {
                    Some(b'[') => "a list",
                    Some(b'{') => "an object",
                    _ => return Ok(()),
                };
                self.other.get_or_insert_with(|| (key.to_owned(), kind));
            }
        }
        Ok(())
    }
}
