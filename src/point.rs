//! Named points: places where a test holds the program, to end it right there. Only with the feature `points`; without it
//! the macro is nothing, and no name of a point reaches the library.
//!
//! A test writes the name of a point, and how many arrivals there are to be let pass, into the file `armed` of the directory
//! that `QBO_RAW_POINTS` names. Who arrives takes the file away, says who he is in `reached`, and stays until that is gone;
//! with the word `panic` behind, he panics then, and says so in `panicked`.

/// A place by name.
macro_rules! point {
    ($name:literal) => {
        #[cfg(feature = "points")]
        $crate::point::reach($name);
    };
}

#[cfg(feature = "points")]
pub fn reach(name: &str) {
    use std::fs::{read_to_string, rename, write};
    use std::path::PathBuf;
    use std::time::Duration;

    use std::sync::Mutex;

    let Some(dir) = std::env::var_os("QBO_RAW_POINTS").map(PathBuf::from) else { return };
    let armed = dir.join("armed");
    // Threads that arrive together are counted one after the other.
    static COUNTING: Mutex<()> = Mutex::new(());
    let counting = COUNTING.lock();
    let Ok(wanted) = read_to_string(&armed) else { return };
    let Some((point, pass)) = wanted.split_once(' ') else { return };
    let (pass, act) = pass.split_once(' ').unwrap_or((pass, ""));
    let taken = dir.join(["taken ", name].concat());
    // Renaming is what only one of several can do.
    if point != name || rename(&armed, &taken).is_err() {
        return;
    }
    // The file may be another user's: what is said is said in one of our own.
    let said = dir.join(["said ", name].concat());
    let say = |text: String, at: PathBuf| {
        let _ = write(&said, text).and_then(|()| rename(&said, at));
    };
    if let Some(left) = pass.parse::<u32>().ok().and_then(|pass| pass.checked_sub(1)) {
        say([name, " ", &left.to_string(), " ", act].concat(), armed);
        return;
    }
    let reached = dir.join("reached");
    say(std::process::id().to_string(), reached.clone());
    drop(counting);
    while reached.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    if act == "panic" {
        say(name.to_owned(), dir.join("panicked"));
        std::panic::panic_any(["panicked at ", name].concat());
    }
}
