//! Prints the records of `tests/fixtures/README.md` as our writers write them, for others' readers.

#[path = "../tests/support"]
mod support {
    pub(crate) mod five_records;
    pub(crate) mod write;
}

use support::{five_records, write};

fn main() {
    for magic in 0..=2 {
        for (name, codec) in five_records::CODECS {
            for (time, append_time) in [("create", false), ("append", true)] {
                if magic == 0 && append_time || magic < 2 && name == "zstd" {
                    continue;
                }
                let bytes = write::written(magic, codec, append_time, 100);
                print!("{magic} {name} {time} 100 ");
                for byte in bytes {
                    print!("{byte:02x}");
                }
                println!();
            }
        }
    }
}
