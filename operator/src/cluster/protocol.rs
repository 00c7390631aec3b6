//! What brokers speak among themselves, from which follows when an upgrade can still be taken back. Pure.
//!
//! | the brokers | they are to speak |
//! |---|---|
//! | have not said yet what they speak | what the spec says, or what their release does by itself |
//! | run several releases, or are being restarted | what they spoke before: binaries come first, and can go back |
//! | all run one release, none is to be restarted | what the spec says, or the newest that all of them know |
//!
//! What was chosen is in the status, so that a raise that has begun goes on whoever is away meanwhile.

/// What is known of one broker that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// The release that it runs.
    pub version: String,
    /// What it speaks.
    pub speaks: String,
    /// What it could speak, oldest first; empty if it does not say.
    pub knows: Vec<String>,
}

/// What is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// What brokers are to speak; none for what their release does.
    pub version: Option<String>,
    /// Why that is not what the spec says, for people; empty if it is.
    pub put_off: String,
}

/// Chooses. `before` was chosen last; `all` is what every broker that is to be says, none while one has not answered or
/// is to be restarted for something else.
pub fn choose(wanted: Option<&str>, before: Option<&str>, all: Option<&[Speaker]>) -> Choice {
    let Some(before) = before else {
        let spoken = all.and_then(spoken);
        let version = spoken.or_else(|| wanted.map(str::to_owned));
        // Whoever was told something else at once speaks that.
        return match (all, wanted) {
            (Some(all), Some(_)) => choose(wanted, version.as_deref(), Some(all)),
            _ => Choice { version, put_off: String::new() },
        };
    };
    let stays = |put_off: String| Choice { version: Some(before.to_owned()), put_off };
    let is_another = wanted.is_some_and(|wanted| !is_of(before, wanted));
    let Some(all) = all else {
        let words = "brokers speak something else once all of them serve and run the same release";
        return stays(if is_another { words.to_owned() } else { String::new() });
    };
    let Some(first) = all.first() else { return stays(String::new()) };
    if all.iter().any(|one| one.version != first.version) {
        let words = "brokers speak something else once all of them run the same release";
        return stays(if is_another { words.to_owned() } else { String::new() });
    }
    let known = |one: &&String| all.iter().all(|other| other.knows.contains(one));
    let chosen = match wanted {
        Some(wanted) => first.knows.iter().filter(known).rfind(|one| is_of(one, wanted)),
        None => first.knows.iter().rfind(known),
    };
    match (chosen, wanted) {
        (Some(chosen), _) => Choice { version: Some(chosen.clone()), put_off: String::new() },
        (None, Some(wanted)) if is_another => {
            stays(format!("release {} does not speak {wanted}", first.version))
        }
        (None, _) => stays(String::new()),
    }
}

/// What all of them speak, if that is the same.
fn spoken(all: &[Speaker]) -> Option<String> {
    let first = all.first()?;
    let is_same = all.iter().all(|one| one.speaks == first.speaks) && !first.speaks.is_empty();
    is_same.then(|| first.speaks.clone())
}

/// Whether `full`, such as 3.9-IV0, is what `wanted` asks for: that, or a step of that release.
pub fn is_of(full: &str, wanted: &str) -> bool {
    full == wanted || full.strip_prefix(wanted).is_some_and(|rest| rest.starts_with("-IV"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(version: &str, speaks: &str, knows: &[&str]) -> Speaker {
        Speaker {
            version: version.to_owned(),
            speaks: speaks.to_owned(),
            knows: knows.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    fn version(wanted: Option<&str>, before: Option<&str>, all: Option<&[Speaker]>) -> String {
        choose(wanted, before, all).version.unwrap_or_default()
    }

    const OLD: [&str; 2] = ["3.7-IV4", "3.8-IV0"];
    const NEW: [&str; 3] = ["3.7-IV4", "3.8-IV0", "3.9-IV0"];

    #[test]
    fn the_first_brokers_speak_what_they_do() {
        assert_eq!(version(None, None, None), "");
        assert_eq!(version(Some("3.8"), None, None), "3.8");
        let all = [speaker("1", "3.8-IV0", &OLD), speaker("1", "3.8-IV0", &OLD)];
        assert_eq!(version(None, None, Some(&all)), "3.8-IV0");
        assert_eq!(version(Some("3.8"), None, Some(&all)), "3.8-IV0");
        let another = [speaker("1", "3.7-IV4", &OLD), speaker("1", "3.8-IV0", &OLD)];
        assert_eq!(version(None, None, Some(&another)), "");
    }

    /// Binaries first: nothing is raised while one broker could not follow.
    #[test]
    fn nothing_is_raised_before_all_run_the_same_release() {
        let before = Some("3.8-IV0");
        let mixed = [speaker("2", "3.8-IV0", &NEW), speaker("1", "3.8-IV0", &OLD)];
        for all in [None, Some(&mixed[..])] {
            assert_eq!(version(None, before, all), "3.8-IV0");
            let choice = choose(Some("3.9"), before, all);
            assert_eq!(choice.version.as_deref(), before);
            assert!(choice.put_off.contains("the same release"), "{}", choice.put_off);
        }
        let new = [speaker("2", "3.8-IV0", &NEW), speaker("2", "3.8-IV0", &NEW)];
        assert_eq!(version(None, before, Some(&new)), "3.9-IV0");
        assert_eq!(version(Some("3.9"), before, Some(&new)), "3.9-IV0");
        // Who names the old one can go back for as long as he likes.
        assert_eq!(version(Some("3.8"), before, Some(&new)), "3.8-IV0");
        let unknown = choose(Some("4.2"), before, Some(&new));
        assert_eq!(unknown.version.as_deref(), before);
        assert_eq!(unknown.put_off, "release 2 does not speak 4.2");
    }

    /// Whoever is away, and whoever does not say what it knows, changes nothing.
    #[test]
    fn a_raise_that_has_begun_goes_on() {
        assert_eq!(version(None, Some("3.9-IV0"), None), "3.9-IV0");
        let silent = [speaker("0", "3.8-IV0", &[])];
        assert_eq!(version(None, Some("3.8-IV0"), Some(&silent)), "3.8-IV0");
        let raised = [speaker("2", "3.9-IV0", &NEW), speaker("2", "3.8-IV0", &NEW)];
        assert_eq!(version(None, Some("3.9-IV0"), Some(&raised)), "3.9-IV0");
    }

    #[test]
    fn a_release_stands_for_its_last_step() {
        let all = [speaker("2", "3.7-IV4", &["3.7-IV3", "3.7-IV4", "3.8-IV0"])];
        assert_eq!(version(Some("3.7"), Some("3.8-IV0"), Some(&all)), "3.7-IV4");
        assert_eq!(version(Some("3.7-IV3"), Some("3.8-IV0"), Some(&all)), "3.7-IV3");
        assert!(!is_of("3.10-IV0", "3.1") && is_of("3.1-IV0", "3.1"));
    }
}
