//! What is beside queries: reading by id, the company, other companies, change data capture, headers.

use crate::client::{Client, counts, read};
use qbo_sim::{Action, Options};

#[test]
fn a_record_is_read_by_its_id() {
    let client = Client::company(&[("Invoice", 5), ("Customer", 5)]);
    let answer = client.get(&client.path("invoice/3?minorversion=75"));
    let expected = format!("{{\"Invoice\":{},\"time\":\"", client.record("Invoice", "3").unwrap());
    assert!(answer.body.starts_with(&expected), "{}", answer.body);
    let gone = client.get(&client.path("invoice/99"));
    assert_eq!((gone.status, gone.fault().0.as_str()), (400, "610"));
    let odd = client.get(&client.path("customer/1.5"));
    assert_eq!((odd.status, odd.fault().0.as_str()), (400, "2030"));
    assert_eq!(odd.fault().1, "Id should be a valid number. Supplied value:1.5");
    for path in ["customer/1/5", "customers/1", "nothing"] {
        assert_eq!(client.get(&client.path(path)).fault().0, "500", "{path}");
    }
}

#[test]
fn company_and_preferences_are_single_records() {
    let client = Client::company(&[]);
    let info = client.get(&client.path(&format!("companyinfo/{}", client.realm())));
    assert_eq!(info.json()["CompanyInfo"]["Id"], "1");
    assert_eq!(client.query("SELECT * FROM CompanyInfo").rows("CompanyInfo").len(), 1);
    assert_eq!(client.get(&client.path("preferences")).json()["Preferences"]["Id"], "1");
}

#[test]
fn another_realm_is_403_3100_and_one_that_lives_elsewhere_401_130() {
    let client = Client::new(Options { elsewhere: vec!["9130000000000000001".to_owned()], ..counts(&[]) });
    let of = |realm: &str| {
        client.get(&format!("{}/v3/company/{realm}/query?query=SELECT%20*%20FROM%20Item", client.url()))
    };
    let other = of("9130000000000000002");
    assert_eq!(other.status, 403);
    let error = &other.json()["fault"]["error"][0];
    assert_eq!(error["message"], "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403");
    assert_eq!((&error["code"], &error["detail"]), (&"3100".into(), &serde_json::Value::Null));
    let elsewhere = of("9130000000000000001");
    assert_eq!((elsewhere.status, elsewhere.header("content-type")), (401, "application/xml"));
    assert!(
        elsewhere.body.contains("<Error code=\"130\">")
            && elsewhere.body.contains("WrongClusterError: -11017")
    );
}

#[test]
fn answers_have_the_headers_of_intuits_front() {
    let client = Client::company(&[("Invoice", 5)]);
    let good = client.query("SELECT * FROM Invoice");
    assert_eq!(good.header("content-type"), "application/json;charset=utf-8");
    assert_eq!(good.header("transfer-encoding"), "chunked");
    for name in ["intuit_tid", "QBO-Version", "Service-Time", "Date", "X-Amzn-Trace-Id"] {
        assert!(!good.header(name).is_empty(), "{name}");
    }
    assert_ne!(good.header("intuit_tid"), client.query("SELECT * FROM Invoice").header("intuit_tid"));
    assert!(good.headers.keys().all(|name| !name.as_str().contains("ratelimit")));
}

#[test]
fn a_statement_that_is_too_long_is_413_with_html() {
    let client = Client::company(&[]);
    let ids = "'1',".repeat(200_000);
    let answer = client.query(&format!("SELECT * FROM Invoice WHERE Id IN ({ids}'2')"));
    assert_eq!((answer.status, answer.header("content-type")), (413, "text/html"));
}

#[test]
fn cdc_gives_whole_records_and_stubs_of_deleted_ones() {
    let client = Client::company(&[("Invoice", 50), ("Customer", 20), ("Bill", 5)]);
    let changed = client.change("Invoice", 0.1);
    assert!(client.delete("Invoice", &client.ids("Invoice")[0]));
    let since = (chrono::Utc::now() - chrono::TimeDelta::minutes(5)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let cdc = |entities: &str, since: &str| {
        client.get(&client.path(&format!("cdc?entities={entities}&changedSince={since}")))
    };
    let answer = cdc("Invoice,Customer", &since).json();
    let parts = answer["CDCResponse"][0]["QueryResponse"].as_array().unwrap();
    assert_eq!(parts.len(), 2, "one for each entity");
    assert_eq!(parts[1], serde_json::json!({}));
    let invoices = parts[0]["Invoice"].as_array().unwrap();
    assert_eq!(invoices.len(), changed.len() + 1);
    let last = invoices.last().unwrap();
    assert_eq!((&last["status"], &last["domain"]), (&"Deleted".into(), &"QBO".into()));
    assert!(last.get("SyncToken").is_none() && last["MetaData"]["LastUpdatedTime"].is_string());
    let old = cdc("Invoice", "2025-07-01T00:00:00Z");
    assert_eq!(old.status, 400);
    assert!(old.fault().1.contains("which is older than fixed days is not supported"), "{}", old.body);
    assert_eq!(cdc("TimeActivity", &since).status, 400, "not covered by CDC");
}

#[test]
fn the_services_clock_can_be_wrong() {
    let skew = chrono::TimeDelta::days(1);
    let client = Client::new(Options { clock_skew: skew, ..counts(&[("Invoice", 5)]) });
    let time = client.query("SELECT * FROM Invoice").json()["time"].as_str().unwrap().to_owned();
    let ahead = chrono::DateTime::parse_from_rfc3339(&time).unwrap().to_utc() - chrono::Utc::now();
    assert!((ahead - skew).num_seconds().abs() < 5);
    client.act(Action::Update("Invoice".to_owned(), "1".to_owned()));
    let count = client.count(&format!(
        "Invoice WHERE MetaData.LastUpdatedTime > '{}'",
        (chrono::Utc::now() + chrono::TimeDelta::hours(23)).format("%Y-%m-%dT%H:%M:%SZ")
    ));
    assert_eq!(count, 1);
}

#[test]
fn who_does_not_ask_for_json_gets_xml() {
    let client = Client::company(&[("Invoice", 5)]);
    let ask = |statement: &str| {
        let request = client
            .agent
            .post(client.path("query"))
            .header("Authorization", format!("Bearer {}", client.token));
        read(request.content_type("application/text").send(statement).unwrap()).unwrap()
    };
    let page = ask("SELECT * FROM Invoice ORDERBY Id MAXRESULTS 2");
    assert_eq!((page.status, page.header("content-type")), (200, "application/xml;charset=UTF-8"));
    assert!(
        page.body.contains("<QueryResponse maxResults=\"2\" startPosition=\"1\" totalCount=\"2\"><Invoice>"),
        "{}",
        page.body
    );
    assert_eq!(page.body.matches("</Invoice>").count(), 2);
    let fault = ask("SELECT * FROM Custmoer");
    assert_eq!(fault.status, 400);
    assert!(
        fault.body.contains("<Fault type=\"ValidationFault\">")
            && fault.body.contains("<Error code=\"4001\">")
    );
    let client = Client { token: "no token at all".to_owned(), ..client };
    assert!(
        client.query("SELECT * FROM Invoice").body.starts_with("{\"warnings\":null"),
        "the gateway speaks JSON"
    );
}
