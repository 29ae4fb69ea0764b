//! Sends answers, whole or spoiled by a fault.

use super::connection::Connection;
use super::response::{Framed, bomb};
use super::{Incoming, Response};
use crate::fault::{Edit, Fault, Framing, Place};
use std::io::{Result, Write};
use std::time::Duration;

/// What became of an answer.
pub struct Sent {
    /// To be used again.
    pub connection: Option<Connection>,
    /// 0: no status was sent.
    pub status: u16,
    /// Whether it was sent to its end.
    pub whole: bool,
}

impl Sent {
    fn nothing() -> Sent {
        Sent { connection: None, status: 0, whole: false }
    }
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
        return match fault {
            Some(Fault::Raw(bytes)) => raw(connection, &bytes),
            _ => {
                connection.reset();
                Sent::nothing()
            }
        };
    };
    if let Some(Fault::Edit(edit)) = &fault {
        answer.body = edited(edit, answer.body);
    }
    let spoiled = if let Some(Fault::Framing(framing)) = fault { Some(framing) } else { None };
    let status = answer.status;
    let framed = match fault {
        Some(Fault::GzipBomb(size)) => packed_already(answer, bomb(size)),
        Some(Fault::BadGzip) => packed_already(answer, b"this is no gzip data".to_vec()),
        _ => answer.framed(gzip, request.modern, spoiled),
    };
    let reusable = framed.reusable && request.keep_alive && request.modern;
    match fault {
        Some(Fault::LoseAnswer) => {
            connection.reset();
            Sent::nothing()
        }
        Some(Fault::ResetAt(place)) => reset(connection, framed, place, status, pause),
        Some(Fault::ResetInBody(keep)) => reset(connection, framed, Place::Body(keep), status, pause),
        Some(Fault::Truncate(keep)) => {
            let body = framed.body.get(..keep.min(framed.body.len() / 2)).unwrap_or_default();
            let connection = send(connection, &[&framed.head, body]).ok();
            connection.into_iter().for_each(Connection::close);
            Sent { connection: None, status, whole: false }
        }
        Some(Fault::StallInBody(length)) => {
            let half = framed.body.len() / 2;
            let (first, rest) = framed.body.split_at_checked(half).unwrap_or_default();
            let sent = send(connection, &[&framed.head, first]).and_then(|connection| {
                pause(length);
                send(connection, &[rest])
            });
            done(sent, reusable, status)
        }
        Some(Fault::Slow(between)) => done(slowly(connection, &framed, between, pause), reusable, status),
        _ => {
            let whole = !matches!(spoiled, Some(Framing::NoLastChunk | Framing::ShortGzip));
            let sent = done(send(connection, &[&framed.head, &framed.body]), reusable, status);
            Sent { whole: sent.whole && whole, ..sent }
        }
    }
}

fn done(sent: Result<Connection>, reusable: bool, status: u16) -> Sent {
    match sent {
        Ok(connection) if reusable => Sent { connection: Some(connection), status, whole: true },
        Ok(connection) => {
            connection.close();
            Sent { connection: None, status, whole: true }
        }
        Err(_) => Sent { connection: None, status, whole: false },
    }
}

fn raw(connection: Connection, bytes: &[u8]) -> Sent {
    send(connection, &[bytes]).into_iter().for_each(Connection::close);
    Sent::nothing()
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

fn reset(
    connection: Connection,
    framed: Framed,
    place: Place,
    status: u16,
    pause: &dyn Fn(Duration),
) -> Sent {
    let all = [framed.head.as_slice(), &framed.body].concat();
    let keep = match place {
        Place::Start => 0,
        Place::StatusLine => 12,
        Place::Headers => framed.head.len() * 2 / 3,
        Place::Body(keep) => framed.head.len() + keep.min(framed.body.len() / 2),
        Place::End => all.len(),
    };
    if let Ok(connection) = send(connection, &[all.get(..keep).unwrap_or_default()]) {
        // A reset overtakes what was sent before it; so it waits until that has arrived.
        if keep > 0 {
            pause(Duration::from_millis(20));
        }
        connection.reset();
    }
    Sent { connection: None, status: if keep > 12 { status } else { 0 }, whole: place == Place::End }
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
