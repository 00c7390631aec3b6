//! `cargo ci`.

fn main() -> anyhow::Result<()> {
    println!("{}", e2e::tools::pypi::install()?.display());
    println!("{}", e2e::tools::npm::install()?.display());
    Ok(())
}
