//! What stands in the library that is shipped, and what does not.

use qbo_e2e::{lacks, library, points};

#[test]
fn no_named_point_is_shipped() {
    let library = library();
    assert_eq!(lacks(&library, &["qbo_raw_worker_main".to_owned()]), [""; 0], "it is our library");
    let mut names = points();
    assert!(names.len() >= 40);
    names.push("QBO_RAW_POINTS".to_owned());
    assert_eq!(lacks(&library, &names), names);
}
