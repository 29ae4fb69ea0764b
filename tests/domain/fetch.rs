//! The machine of a window: pages, their seams, and rows that move while they are read.

use super::model::{Server, counted, fetch, limits, lost, now, page, read, reply, slice, talk};
use qbo_raw::domain::fault::{Counters, Scope};
use qbo_raw::domain::fetch::{Effect, Event, Limits, LostKind, Reply};

#[test]
fn every_window_is_read_whole_whatever_the_page_size() {
    for count in 0..40 {
        for page_size in 1..=45 {
            let story = read(page_size, &Server::new(count));
            assert_eq!(story.ids(), (1..=count).collect::<Vec<_>>(), "{count} by {page_size}");
            let counters = story.done();
            // The seam costs no request; a full last page costs one.
            assert_eq!(counters.requests, count / page_size + 1, "{count} by {page_size}");
            assert_eq!(counters.requests as usize, story.sent.len());
            assert_eq!(counters.pages, count.div_ceil(page_size));
            assert_eq!(story.pages, (1..=counters.pages).collect::<Vec<_>>());
            let rest = Counters {
                records: count.into(),
                requests: counters.requests,
                pages: counters.pages,
                ..Counters::default()
            };
            assert_eq!(counters, rest);
        }
    }
}

#[test]
fn pages_are_laid_edge_to_edge() {
    let story = read(3, &Server::new(7));
    assert_eq!(story.sent, [slice(1, 3), slice(3, 4), slice(6, 4)]);
    // The last page is full: one more request shows that nothing is behind it.
    let story = read(3, &Server::new(6));
    assert_eq!(story.sent, [slice(1, 3), slice(3, 4), slice(6, 4)]);
    assert_eq!(read(1, &Server::new(2)).sent, [slice(1, 1), slice(1, 2), slice(2, 2)]);
    assert_eq!(read(5, &Server::new(0)).sent, [slice(1, 5)]);
}

#[test]
fn the_largest_page_takes_its_seam_from_itself() {
    for (count, requests) in
        [(999, 1), (1_000, 2), (1_998, 2), (1_999, 3), (2_997, 3), (2_998, 4), (5_000, 6)]
    {
        let story = read(1_000, &Server::new(count));
        assert_eq!(story.ids().len() as u32, count);
        assert_eq!(story.done().requests, requests, "{count}");
        assert!(story.sent.iter().all(|slice| slice.max_results == 1_000));
    }
    // Out of bounds is brought into them.
    assert_eq!(read(5_000, &Server::new(3)).sent, [slice(1, 1_000)]);
    assert_eq!(read(0, &Server::new(1)).sent, [slice(1, 1), slice(1, 2)]);
}

#[test]
fn more_rows_than_asked_for_are_asked_for_again() {
    let server = Server::new(10);
    let story = talk(limits(3), |_, mut asked| {
        asked.max_results += 1;
        server.answer(asked)
    });
    assert_eq!(story.ids(), (1..=10).collect::<Vec<_>>());
    assert_eq!(story.sent[1], slice(3, 4));
}

#[test]
fn a_total_count_beyond_a_short_page_is_looked_after_once() {
    // It claims what is not there.
    let story = talk(limits(5), |_, slice| counted(Server::new(3).rows(slice), Some(99)));
    assert_eq!(story.sent, [slice(1, 5), slice(3, 6)]);
    assert_eq!(story.ids(), [1, 2, 3]);
    // It claims less than is there.
    let story = talk(limits(3), |_, slice| counted(Server::new(7).rows(slice), Some(0)));
    assert_eq!(story.ids(), (1..=7).collect::<Vec<_>>());
}

#[test]
fn short_pages_are_followed_as_long_as_more_is_claimed_and_comes() {
    // A server that never gives more than three rows.
    let server = Server::new(20);
    let story = talk(limits(10), |_, mut slice| {
        slice.max_results = slice.max_results.min(3);
        counted(server.rows(slice), Some(20))
    });
    story.done();
    assert_eq!(story.ids(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_seam_that_is_not_where_it_was_makes_the_window_read_again() {
    let mut server = Server::new(8);
    let story = talk(limits(3), |request, slice| {
        if request == 1 {
            server.remove(2);
        }
        server.answer(slice)
    });
    assert_eq!((story.restarts, story.done().rereads), (1, 1));
    assert_eq!(story.ids(), [1, 3, 4, 5, 6, 7, 8]);
    assert_eq!(story.sent[..3], [slice(1, 3), slice(3, 4), slice(1, 3)]);
    assert_eq!(story.done().records, 7);
    assert_eq!(story.pages, [1, 2, 3]);
}

#[test]
fn a_seam_that_is_gone_is_no_end() {
    let mut server = Server::new(3);
    let story = talk(limits(3), |request, slice| {
        if request == 1 {
            server.remove(3);
        }
        server.answer(slice)
    });
    assert_eq!((story.restarts, story.ids()), (1, vec![1, 2]));
}

#[test]
fn rows_that_move_again_and_again_are_given_up() {
    let mut server = Server::new(50);
    let story = talk(limits(3), |_, slice| {
        let first = server.ids[0];
        let event = server.answer(slice);
        server.remove(first);
        event
    });
    let failure = story.failed();
    assert_eq!((failure.code.as_str(), failure.sqlstate), ("moved_while_read", "38000"));
    assert_eq!((failure.scope, failure.outage), (Scope::Window, false));
    assert_eq!((story.restarts, failure.counters.rereads, story.sent.len()), (3, 3, 8));
    assert!(failure.message.contains("4 times"), "{}", failure.message);
    let none = talk(Limits { rereads: 0, ..limits(3) }, |n, slice| {
        if n == 0 { Server::new(9).answer(slice) } else { page(&[4, 5]) }
    });
    assert_eq!((none.restarts, none.failed().code.as_str()), (0, "moved_while_read"));
}

#[test]
fn the_first_page_for_ever_is_seen() {
    for page_size in [2, 3, 10] {
        let ids: Vec<u32> = (1..=page_size).collect();
        let story = talk(limits(page_size), |_, _| page(&ids));
        assert_eq!(story.failed().code, "pagination_stuck");
        assert_eq!(story.sent.len(), 2);
    }
}

#[test]
fn a_window_has_so_many_pages_at_most() {
    let three = Limits { page_cap: 3, ..limits(2) };
    for (count, enough) in [(4, true), (5, true), (6, false), (7, false), (50, false)] {
        let server = Server::new(count);
        let story = talk(three, |_, slice| server.answer(slice));
        if enough {
            assert_eq!(story.ids().len() as u32, count);
            assert_eq!(story.done().pages, count.div_ceil(2));
        } else {
            let failure = story.failed();
            assert_eq!((failure.code.as_str(), failure.sqlstate), ("too_many_pages", "54000"), "{count}");
            assert_eq!(failure.counters.pages, 3);
        }
    }
}

#[test]
fn rows_without_an_id_are_kept_and_counted() {
    let rows = [r#"{"Id":"1"}"#, r#"{"Id":null}"#, "null", r#"{"Id":"4"}"#];
    let server = Server::new(4);
    let story = talk(limits(3), |_, slice| {
        let rows: Vec<_> = server.rows(slice).iter().map(|id| rows[*id as usize - 1]).collect();
        reply(200, format!(r#"{{"QueryResponse":{{"Invoice":[{}]}}}}"#, rows.join(",")))
    });
    assert_eq!(story.kept, [Some(1), None, None, Some(4)]);
    // The last row of the first page has no Id, so there is no seam.
    assert_eq!(story.sent[..2], [slice(1, 3), slice(4, 3)]);
    let counters = story.done();
    assert_eq!((counters.records, counters.rejected, counters.pages), (4, 2, 2));
}

#[test]
fn pages_without_any_id_are_gone_through_as_well() {
    let story = talk(limits(2), |_, slice| {
        let rows = vec!["{}"; Server::new(5).rows(slice).len()];
        reply(200, format!(r#"{{"QueryResponse":{{"Invoice":[{}]}}}}"#, rows.join(",")))
    });
    assert_eq!(story.kept, [None; 5]);
    assert_eq!(
        story.sent,
        [slice(1, 2), slice(3, 2), slice(5, 2)],
        "nothing to lay a seam at, nothing to look at"
    );
    assert_eq!((story.done().records, story.done().rejected), (5, 5));
}

/// Rows leave anywhere between any two requests, rows are added behind: whatever stayed is kept, and nothing twice.
#[test]
fn whatever_moves_nothing_that_stays_is_lost() {
    let mut random = fastrand::Rng::with_seed(9);
    let mut done = 0;
    for round in 0..10_000 {
        let mut server = Server::new(random.u32(0..25));
        server.largest = (random.u8(0..3) == 0).then(|| random.usize(1..5));
        let page_size = random.u32(1..8);
        let odds = random.u32(2..8);
        let before = server.ids.clone();
        let story = talk(Limits { rereads: 30, ..limits(page_size) }, |_, slice| {
            if random.u32(0..odds) == 0 && !server.ids.is_empty() {
                server.ids.remove(random.usize(0..server.ids.len()));
            }
            if random.u32(0..odds * 2) == 0 {
                server.ids.push(server.ids.last().map_or(100, |id| id + 100));
            }
            server.answer(slice)
        });
        let Some(Ok(_)) = story.end else {
            assert_eq!(story.failed().code, "moved_while_read", "round {round}");
            continue;
        };
        done += 1;
        let ids = story.ids();
        assert!(ids.is_sorted_by(|a, b| a < b), "round {round}: {ids:?}");
        let lost: Vec<_> = server.ids.iter().filter(|id| before.contains(id) && !ids.contains(id)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?} stayed and were not kept: {:?}", story.sent);
    }
    assert!(done > 5_000);
}

#[test]
fn an_event_out_of_place_fails_the_window() {
    let answer = |status| Event::Answer(Reply { status, body: b"{}".to_vec(), ..Reply::default() });
    let event = |what: &str| match what {
        "start" => Event::Start,
        "waited" => Event::Waited,
        "token" => Event::Token,
        "lost" => lost(LostKind::Reset),
        status => answer(status.parse().unwrap()),
    };
    for (path, wrong) in [
        (&[][..], &["200", "lost", "waited", "token"][..]),
        (&["start"], &["start", "waited", "token"]),
        (&["start", "503"], &["start", "200", "lost", "token"]),
        (&["start", "401"], &["start", "200", "lost", "waited"]),
    ] {
        for wrong in wrong {
            let mut machine = fetch(limits(10));
            for step in path {
                assert_eq!(machine.step(event(step), now(), 0.0).len(), 1);
            }
            match &machine.step(event(wrong), now(), 0.0)[..] {
                [Effect::Failed(failure)] => {
                    assert_eq!((failure.code.as_str(), failure.sqlstate), ("internal", "XX000"));
                }
                other => panic!("{wrong} after {path:?}: {other:?}"),
            }
            assert!(machine.step(Event::Start, now(), 0.0).is_empty(), "it is over");
        }
    }
}
