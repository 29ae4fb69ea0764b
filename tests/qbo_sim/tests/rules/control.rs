//! Control over HTTP.

use crate::client::Client;

#[test]
fn faults_are_planned_and_cleared() {
    let client = Client::company(&[("Invoice", 30)]);
    assert_eq!(client.control("fault?name=429:5&when=next&times=1").status, 200);
    let struck = client.query("SELECT * FROM Invoice");
    assert_eq!((struck.status, struck.header("retry-after")), (429, "5"));
    assert_eq!(client.query("SELECT * FROM Invoice").status, 200);
    client.control("fault?name=4002&when=record:Invoice:3");
    assert_eq!(client.query("SELECT * FROM Invoice").status, 400);
    assert_eq!(client.control("clear").json()["faults"], 0);
    assert_eq!(client.query("SELECT * FROM Invoice").status, 200);
    assert_eq!(client.control("fault?name=nonsense").status, 404);
    assert_eq!(client.control("fault?name=429&when=nonsense").status, 404);
    assert_eq!(
        client.get(&format!("{}/sim/clear", client.url())).status,
        405,
        "what changes something is POST"
    );
}

#[test]
fn records_are_looked_at_and_changed() {
    let client = Client::company(&[("Invoice", 30), ("Customer", 10)]);
    let get = |rest: &str| client.get(&format!("{}/sim/{rest}", client.url()));
    assert_eq!(get("ids?entity=Invoice").json().as_array().unwrap().len(), 30);
    assert_eq!(get("record?entity=Invoice&id=7").body, client.record("Invoice", "7").unwrap());
    assert_eq!(client.control("change?entity=Invoice&fraction=0.5").json().as_array().unwrap().len(), 15);
    assert_eq!(client.control("insert?entity=Invoice").json()["id"], "31");
    assert_eq!(client.control("delete?entity=Invoice&id=7").json()["id"], "7");
    assert_eq!(client.control("delete?entity=Invoice&id=7").status, 404);
    assert_eq!(client.control("deactivate?entity=Customer&id=2").json()["id"], "2");
    assert_eq!(client.control("update?entity=Invoice&id=8&before=2").status, 200);
    let before = client.record("Invoice", "8");
    client.query("SELECT * FROM Invoice");
    assert_eq!(client.record("Invoice", "8"), before);
    client.query("SELECT * FROM Invoice");
    assert_ne!(client.record("Invoice", "8"), before);
    let log = get("requests").json();
    assert_eq!((&log[1]["n"], &log[1]["status"], &log[1]["rows"]), (&2.into(), &200.into(), &30.into()));
}

#[test]
fn tokens_and_the_service_are_steered() {
    let client = Client::company(&[("Invoice", 30)]);
    let token = client.refresh_token();
    client.control("expire");
    assert_eq!(client.query("SELECT * FROM Invoice").status, 401);
    client.control("rotate");
    assert_eq!(client.refresh(&token).status, 200);
    assert_eq!(client.refresh(&token).status, 400);
    assert_ne!(client.refresh_token(), token);
    client.control("latency?ms=120");
    let start = std::time::Instant::now();
    client.query("SELECT * FROM Invoice");
    assert!(start.elapsed().as_millis() >= 120);
    client.control("revoke");
    assert_eq!(client.refresh(&client.refresh_token()).status, 400);
}
