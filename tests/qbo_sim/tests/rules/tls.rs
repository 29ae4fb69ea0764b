//! TLS: the good certificate works; with every other no request arrives.

use crate::client::{Client, agent, counts};
use qbo_sim::{Certificate, Options, Sim};
use std::time::{Duration, Instant};

fn options(certificate: Certificate) -> Options {
    Options { tls: true, certificate, ..counts(&[("Invoice", 5)]) }
}

#[test]
fn a_client_that_trusts_the_authority_is_served() {
    Client::new(options(Certificate::Intermediate)).query("SELECT * FROM Invoice").ids("Invoice");
    let client = Client::new(options(Certificate::Good));
    assert!(client.url().starts_with("https://127.0.0.1:"));
    for _ in 0..3 {
        assert_eq!(client.query("SELECT * FROM Invoice").ids("Invoice").len(), 5);
    }
    let path = client.ca_pem_path().unwrap().to_owned();
    assert!(path.exists());
    drop(client);
    assert!(!path.exists(), "the file goes with the simulator");
}

#[test]
fn no_request_arrives_over_a_bad_certificate() {
    for certificate in Certificate::BAD {
        let sim = Sim::start(options(certificate)).unwrap();
        let agent = agent(sim.ca_file());
        let asked = agent.post(format!("{}/oauth2/v1/tokens/bearer", sim.url())).send("secret");
        assert!(asked.is_err(), "{certificate:?}");
        assert_eq!(sim.token_calls(), 0, "{certificate:?}");
    }
    let good = Sim::start(options(Certificate::Good)).unwrap();
    assert!(agent(None).get(good.url()).call().is_err(), "an authority that is not trusted");
}

#[test]
fn a_handshake_can_stall() {
    let stall = Duration::from_millis(250);
    let sim = Sim::start(Options { handshake_stall: stall, ..options(Certificate::Good) }).unwrap();
    let start = Instant::now();
    assert_eq!(agent(sim.ca_file()).get(sim.url()).call().unwrap().status().as_u16(), 404);
    assert!(start.elapsed() >= stall);
}

#[test]
fn plain_text_where_tls_is_expected_is_an_error() {
    let sim = Sim::start(counts(&[])).unwrap();
    let start = Instant::now();
    assert!(agent(None).get(sim.url().replace("http:", "https:")).call().is_err());
    assert!(start.elapsed() < Duration::from_secs(10));
}
