//! Sends answers, whole or spoiled by a fault.

use super::bomb::bomb;
use super::connection::Connection;
use super::response::Framed;
use super::{Incoming, Response};
use crate::fault::{Edit, Fault, Framing, Place};
use std::io::{Result, Write};
use std::time::Duration;

/// What becomes of an answer when its bytes can be sent: the status that the client sees (0: none), and whether it gets all.
pub fn promised(answer: Option<&Response>, fault: Option<&Fault>) -> (u16, bool) {
    let status = answer.map_or(0, |answer| answer.status);
    match fault {
        Some(Fault::LoseAnswer | Fault::ResetAt(Place::Start | Place::StatusLine)) => (0, false),
        Some(
            Fault::ResetAt(Place::Headers | Place::Body(_)) | Fault::ResetInBody(_) | Fault::Truncate(_),
        ) => (status, false),
        Some(Fault::Framing(Framing::NoLastChunk | Framing::ShortGzip)) => (status, false),
        _ => (status, answer.is_some()),
    }
}

/// What became of it.
pub struct Sent {
    /// To be used again.
    pub connection: Option<Connection>,
    /// The client did not take it.
    pub failed: bool,
}

/// Sends an answer as a fault would have it. `pause` waits, but not beyond the simulator's end.
pub fn deliver(
    connection: Connection,
    request: &Incoming,
    answer: Option<Response>,
    fault: Option<Fault>,
    pause: &dyn Fn(Duration),
) -> Sent {
    let gzip = request.accepts_gzip();
    let Some(mut answer) = answer else {
        if let Some(Fault::Raw(bytes)) = fault {
            return done(send(connection, &[&bytes]), false);
        }
        connection.reset();
        return Sent { connection: None, failed: false };
    };
    if let Some(Fault::Edit(edit)) = &fault {
        answer.body = edited(edit, answer.body);
    }
    let spoiled = if let Some(Fault::Framing(framing)) = fault { Some(framing) } else { None };
    let framed = match fault {
        Some(Fault::GzipBomb(size)) => packed_already(answer, bomb(size)),
        Some(Fault::BadGzip) => packed_already(answer, b"this is no gzip data".to_vec()),
        _ => answer.framed(gzip, request.modern, spoiled),
    };
    let reusable = framed.reusable && request.keep_alive && request.modern;
    match fault {
        Some(Fault::LoseAnswer) => reset(connection, &framed, Place::Start, pause),
        Some(Fault::ResetAt(place)) => reset(connection, &framed, place, pause),
        Some(Fault::ResetInBody(keep)) => reset(connection, &framed, Place::Body(keep), pause),
        Some(Fault::Truncate(keep)) => {
            let body = framed.body.get(..keep.min(framed.body.len() / 2)).unwrap_or_default();
            done(send(connection, &[&framed.head, body]), false)
        }
        Some(Fault::StallInBody(length)) => {
            let (first, rest) = framed.body.split_at_checked(framed.body.len() / 2).unwrap_or_default();
            let sent = send(connection, &[&framed.head, first]).and_then(|connection| {
                pause(length);
                send(connection, &[rest])
            });
            done(sent, reusable)
        }
        Some(Fault::Slow(between)) => done(slowly(connection, &framed, between, pause), reusable),
        _ => done(send(connection, &[&framed.head, &framed.body]), reusable),
    }
}

fn done(sent: Result<Connection>, reusable: bool) -> Sent {
    match sent {
        Ok(connection) if reusable => Sent { connection: Some(connection), failed: false },
        Ok(connection) => {
            connection.close();
            Sent { connection: None, failed: false }
        }
        Err(_) => Sent { connection: None, failed: true },
    }
}

fn edited(edit: &Edit, body: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(body) {
        Ok(body) => edit.apply(body),
        Err(error) => error.into_bytes(),
    }
}

fn packed_already(answer: Response, body: Vec<u8>) -> Framed {
    let length = body.len();
    let mut framed = Response { body: Vec::new(), ..answer }.framed(false, false, Some(Framing::UntilClose));
    framed.head.truncate(framed.head.len() - 2);
    framed
        .head
        .extend_from_slice(format!("Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    Framed { body, reusable: true, ..framed }
}

fn reset(connection: Connection, framed: &Framed, place: Place, pause: &dyn Fn(Duration)) -> Sent {
    let all = [framed.head.as_slice(), &framed.body].concat();
    let keep = match place {
        Place::Start => 0,
        Place::StatusLine => 12,
        Place::Headers => framed.head.len() * 2 / 3,
        Place::Body(keep) => framed.head.len() + keep.min(framed.body.len() / 2),
        Place::End => all.len(),
    };
    let sent = send(connection, &[all.get(..keep).unwrap_or_default()]);
    let failed = sent.is_err();
    if let Ok(connection) = sent {
        // A reset overtakes what was sent before it; so it waits until that has arrived.
        if keep > 0 {
            pause(Duration::from_millis(20));
        }
        connection.reset();
    }
    Sent { connection: None, failed }
}

fn slowly(
    mut connection: Connection,
    framed: &Framed,
    between: Duration,
    pause: &dyn Fn(Duration),
) -> Result<Connection> {
    for byte in framed.head.iter().chain(&framed.body) {
        connection.write_all(&[*byte])?;
        connection.flush()?;
        pause(between);
    }
    Ok(connection)
}

fn send(mut connection: Connection, parts: &[&[u8]]) -> Result<Connection> {
    connection.write_all(&parts.concat())?;
    connection.flush()?;
    Ok(connection)
}
