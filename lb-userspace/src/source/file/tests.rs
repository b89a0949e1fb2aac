use std::{
    fs::{self, File},
    io::Write as _,
    net::IpAddr,
    os::unix::fs::symlink,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_millis(900);

struct Fixture {
    directory: TempDir,
    source: FileSource,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let directory = TempDir::new().expect("temporary directory");
        let path = directory.path().join(name);
        let source = FileSource::new(
            path,
            BackendRule {
                vip: "10.200.0.1".parse().expect("address"),
                forward: lb_common::Forward::L2,
            },
        );
        Self { directory, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, addresses: &[&str]) {
        fs::write(self.path(name), list(addresses)).expect("write");
    }

    /// Last parts of the addresses of the next answer.
    async fn next(&mut self) -> Result<Vec<u8>, String> {
        let answer = timeout(Duration::from_secs(10), self.source.next()).await.expect("answer");
        let last = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        answer
            .map(|snapshot| snapshot.backends.iter().map(|b| last(b.address)).collect())
            .map_err(|error| error.to_string())
    }

    async fn soon(&mut self) -> Result<Vec<u8>, String> {
        timeout(SOON, self.next()).await.expect("an answer without polling")
    }

    async fn silent(&mut self, time: Duration) {
        let answer = timeout(time, self.source.next()).await;
        assert!(answer.is_err(), "unexpected answer {answer:?}");
    }
}

fn list(addresses: &[&str]) -> String {
    let entries = addresses.iter().map(|address| format!("[[backend]]\naddress = \"{address}\"\n"));
    entries.collect()
}

#[tokio::test]
async fn follows_a_file_that_is_rewritten() {
    let mut fixture = Fixture::new("web.toml");
    fixture.write("web.toml", &["10.0.1.1"]);
    assert_eq!(fixture.soon().await, Ok(vec![1]));
    fixture.write("web.toml", &["10.0.1.1", "10.0.1.2"]);
    assert_eq!(fixture.soon().await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn follows_a_file_that_is_renamed_over_it() {
    let mut fixture = Fixture::new("web.toml");
    fixture.write("web.toml", &["10.0.1.1"]);
    assert_eq!(fixture.soon().await, Ok(vec![1]));
    for last in 2..5 {
        fixture.write("web.toml.new", &[&format!("10.0.1.{last}")]);
        fs::rename(fixture.path("web.toml.new"), fixture.path("web.toml")).expect("rename");
        assert_eq!(fixture.soon().await, Ok(vec![last]));
    }
}

#[tokio::test]
async fn follows_the_link_of_a_config_map() {
    let mut fixture = Fixture::new("web.toml");
    for generation in ["..2026_1", "..2026_2"] {
        fs::create_dir(fixture.path(generation)).expect("directory");
    }
    fixture.write("..2026_1/web.toml", &["10.0.1.1"]);
    fixture.write("..2026_2/web.toml", &["10.0.1.2"]);
    symlink("..2026_1", fixture.path("..data")).expect("link");
    symlink("..data/web.toml", fixture.path("web.toml")).expect("link");
    assert_eq!(fixture.soon().await, Ok(vec![1]));
    symlink("..2026_2", fixture.path("..data_tmp")).expect("link");
    fs::rename(fixture.path("..data_tmp"), fixture.path("..data")).expect("rename");
    assert_eq!(fixture.soon().await, Ok(vec![2]));
}

#[tokio::test]
async fn a_missing_file_is_an_error_once_and_never_empty() {
    let mut fixture = Fixture::new("web.toml");
    let error = fixture.soon().await.expect_err("no file");
    assert!(error.contains("web.toml cannot be read: No such file"), "{error}");
    fixture.silent(Duration::from_millis(2500)).await;
    fixture.write("web.toml", &["10.0.1.1"]);
    assert_eq!(fixture.soon().await, Ok(vec![1]));
    fs::remove_file(fixture.path("web.toml")).expect("remove");
    fixture.soon().await.expect_err("removed");
    // The same content as before the outage: it must be said again, because it ends the outage.
    fixture.write("web.toml", &["10.0.1.1"]);
    assert_eq!(fixture.soon().await, Ok(vec![1]));
}

#[tokio::test]
async fn waits_for_a_writer_that_pauses() {
    let mut fixture = Fixture::new("web.toml");
    fixture.write("web.toml", &["10.0.1.1", "10.0.1.2"]);
    assert_eq!(fixture.soon().await, Ok(vec![1, 2]));
    let mut file = File::create(fixture.path("web.toml")).expect("create");
    let writer = tokio::spawn(async move {
        for address in ["10.0.1.3", "10.0.1.4", "10.0.1.5"] {
            file.write_all(list(&[address]).as_bytes()).expect("write");
            sleep(Duration::from_millis(300)).await;
        }
    });
    assert_eq!(fixture.next().await, Ok(vec![3, 4, 5]));
    writer.await.expect("writer");
}

#[tokio::test]
async fn ignores_neighbours_and_touches() {
    let mut fixture = Fixture::new("web.toml");
    fixture.write("web.toml", &["10.0.1.1"]);
    assert_eq!(fixture.soon().await, Ok(vec![1]));
    fixture.write("other.toml", &["10.0.1.9"]);
    fixture.write("web.toml", &["10.0.1.1"]);
    fixture.silent(SOON).await;
}

#[tokio::test]
async fn finds_a_directory_that_is_made_later_and_again() {
    let mut fixture = Fixture::new("later/web.toml");
    fixture.next().await.expect_err("no directory");
    for last in 1..3 {
        fs::create_dir(fixture.path("later")).expect("directory");
        fixture.write("later/web.toml", &[&format!("10.0.1.{last}")]);
        assert_eq!(fixture.next().await, Ok(vec![last]));
        fs::remove_dir_all(fixture.path("later")).expect("remove");
        fixture.next().await.expect_err("removed");
    }
}

#[tokio::test]
async fn refuses_pipes_directories_and_giants() {
    let mut fixture = Fixture::new("web.toml");
    let path = fixture.path("web.toml");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("pipe");
    assert!(fixture.soon().await.expect_err("pipe").contains("not a regular file"));
    fs::remove_file(&path).expect("remove");
    let giant = File::create(&path).expect("create");
    giant.set_len(LARGEST + 1).expect("sparse");
    drop(giant);
    assert!(fixture.next().await.expect_err("giant").contains("larger than 16 MiB"));
}

#[tokio::test]
async fn an_answer_that_is_refused_leaves_the_next_one_free() {
    let mut fixture = Fixture::new("web.toml");
    fixture.write("web.toml", &["10.0.1.1"]);
    assert_eq!(fixture.soon().await, Ok(vec![1]));
    fixture.write("web.toml", &["10.0.1.1", "127.0.0.1"]);
    let error = fixture.soon().await.expect_err("loopback");
    assert!(error.contains("entry `127.0.0.1` is refused"), "{error}");
    fixture.write("web.toml", &["10.0.1.2"]);
    assert_eq!(fixture.soon().await, Ok(vec![2]));
}
