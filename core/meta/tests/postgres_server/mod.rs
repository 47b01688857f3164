//! A PostgreSQL server of a test's own: in a temporary directory, on a Unix socket and a free port of the
//! loopback interface, ended with the test.
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meta::{PostgresConfig, TlsMode};

/// User, and database.
const NAME: &str = "cess";
/// Password of the user for connections that are not through the socket.
pub const PASSWORD: &str = "correct horse battery staple";
/// Longest wait for a start or an end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
pub struct Server {
    dir: tempfile::TempDir,
    /// The directory that the user of the server owns, with the cluster and the socket.
    own: PathBuf,
    programs: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Makes a database cluster and serves it. `None`, said aloud, without PostgreSQL on this machine; with
    /// `CESS_TEST_NO_SKIP` set that is a failure.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("CESS_TEST_NO_SKIP").is_none(),
                "PostgreSQL is missing; run tests/install-tools"
            );
            eprintln!("SKIPPED: PostgreSQL is not installed (tests/install-tools installs it)");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("cess-pg-").tempdir().unwrap();
        // The server runs as another user when this is root.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let own = dir.path().join("server");
        std::fs::create_dir(&own).unwrap();
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(&own, Some(user), Some(group)).unwrap();
        }
        // Read by the server's user when the cluster is made, and by the test.
        for name in ["password", "server/password"] {
            let path = dir.path().join(name);
            std::fs::write(&path, PASSWORD).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(own.join("password"), Some(user), Some(group)).unwrap();
        }
        let mut server = Self {
            dir,
            own,
            programs,
            port: 0,
            child: None,
        };
        let password = server.own.join("password");
        let made = server
            .command("initdb")
            .args(["--username", NAME, "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(server.data())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.serve(&[]);
        let made = server
            .command("psql")
            .args([
                "--host",
                server.socket_directory(),
                "--username",
                NAME,
                "--dbname",
                "postgres",
            ])
            .args(["--port", &server.port.to_string(), "--quiet", "--command"])
            .arg(format!("CREATE DATABASE {NAME}"))
            .status()
            .unwrap();
        assert!(made.success());
        Some(server)
    }

    /// Serves the cluster with these settings (`name=value`) beside the usual ones.
    pub fn serve(&mut self, settings: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.port == 0 {
                // Somebody else may take it before the server does: then another one.
                let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
                self.port = free.local_addr().unwrap().port();
            }
            let mut command = self.command("postgres");
            command
                .arg("-D")
                .arg(self.data())
                .arg("-k")
                .arg(self.socket_directory());
            command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
            command.args(["-c", "shared_buffers=32MB", "-c", "max_wal_size=256MB"]);
            for setting in settings {
                command.args(["-c", setting]);
            }
            let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log);
            self.child = Some(command.spawn().unwrap());
            if self.comes_up(deadline) {
                return;
            }
            assert!(Instant::now() < deadline, "{}", self.log());
            self.port = 0;
        }
    }

    fn comes_up(&mut self, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap().is_some();
            if ended {
                return false;
            }
            let asked = Command::new(self.programs.join("pg_isready"))
                .args(["--quiet", "--host", "127.0.0.1", "--port", &self.port.to_string()])
                .status()
                .unwrap();
            if asked.success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        false
    }

    /// A power cut as far as the server's processes go: what it had not written is gone.
    pub fn crash(&mut self) {
        let mut child = self.child.take().unwrap();
        // SIGQUIT: its processes end at once, without a checkpoint. SIGKILL would leave them behind, with the memory
        // that they share, and the next start would find it in use.
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).unwrap();
        child.wait().unwrap();
    }

    /// Through the Unix socket, without a password.
    pub fn config(&self) -> PostgresConfig {
        PostgresConfig {
            tls: TlsMode::Disable,
            ..PostgresConfig::new(&format!("{}:{}", self.socket_directory(), self.port), NAME, NAME)
        }
    }

    /// Through TCP, which asks for the password.
    pub fn tcp(&self) -> PostgresConfig {
        PostgresConfig {
            hosts: vec![format!("localhost:{}", self.port)],
            password_file: Some(self.dir.path().join("password")),
            ..self.config()
        }
    }

    /// Runs a command of SQL; answers what it prints.
    pub fn sql(&self, command: &str) -> String {
        let done = self
            .command("psql")
            .args([
                "--host",
                self.socket_directory(),
                "--username",
                NAME,
                "--dbname",
                NAME,
            ])
            .args([
                "--port",
                &self.port.to_string(),
                "--quiet",
                "--no-align",
                "--tuples-only",
            ])
            .args(["--set", "ON_ERROR_STOP=1", "--command", command])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A program of PostgreSQL, as the user that owns the cluster.
    pub fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = server_user() {
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"));
            command.arg("--clear-groups");
        }
        // Nothing is left behind, not even by a test that is killed.
        command.args(["--pdeathsig", "QUIT"]).arg(path);
        command.current_dir("/");
        command
    }

    fn data(&self) -> PathBuf {
        self.own.join("data")
    }

    fn socket_directory(&self) -> &str {
        self.own.to_str().unwrap()
    }

    /// A directory whose files the server may read.
    pub fn directory(&self) -> &Path {
        &self.own
    }

    /// Port on the loopback interface, and in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = nix::unistd::Pid::from_raw(child.id() as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
            let _ = child.wait();
        }
    }
}

/// Where PostgreSQL's programs are: `CESS_TEST_POSTGRES`, or where Debian puts them, the newest.
fn programs() -> Option<PathBuf> {
    if let Some(programs) = std::env::var_os("CESS_TEST_POSTGRES") {
        return Some(programs.into());
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let programs = entry.path().join("bin");
            let version = entry.file_name().to_str()?.parse().ok()?;
            programs.join("initdb").is_file().then_some((version, programs))
        })
        .collect();
    versions.sort();
    versions.pop().map(|(_, programs)| programs)
}

/// The user and group that the server runs as, when this process is root: it refuses to be.
fn server_user() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("postgres")
        .unwrap()
        .or_else(|| nix::unistd::User::from_name("nobody").unwrap())
        .expect("a user other than root");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}
