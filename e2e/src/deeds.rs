//! A test in parts that are done on one scene, in their order: each is told, with the time that it took.

use anyhow::{Context, Result};

use crate::deadline::Stopwatch;

/// A part of a test: what it shows, and how.
pub type Deed<Scene> = (&'static str, fn(&Scene) -> Result<()>);

/// Does all of them, `after` each looks at what became of the scene. The first that fails ends it, and is named.
pub fn play<Scene>(
    scene: &Scene,
    deeds: &[Deed<Scene>],
    mut after: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    for (what, deed) in deeds {
        println!("== {what}");
        let time = Stopwatch::start();
        deed(scene).context(*what)?;
        after(what).context(*what)?;
        println!("{:5.1} s  {what}", time.elapsed().as_secs_f64());
    }
    Ok(())
}
