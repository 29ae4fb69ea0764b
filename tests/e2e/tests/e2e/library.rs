//! What stands in the library that is shipped, and what does not.

use qbo_e2e::{holds, library, points};

#[test]
fn no_named_point_is_shipped() {
    let library = library();
    assert!(holds(&library, "qbo_raw_worker_main"), "it is our library");
    assert!(points().len() >= 40);
    for point in points().iter().map(String::as_str).chain(["QBO_RAW_POINTS"]) {
        assert!(!holds(&library, point), "{point}");
    }
}
