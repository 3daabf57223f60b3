//! A real server other than comet-server: nginx with nchan, as reports/docs/msggen.md shows it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{DEADLINE, msggen, wait_until};

/// Where Debian's `libnginx-mod-nchan` has it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// nginx with nchan on a free port.
struct Nchan {
    /// Its master process.
    process: Child,
    /// Where it listens.
    address: String,
    /// Its configuration and what it writes.
    _folder: tempfile::TempDir,
}

impl Nchan {
    /// Starts it and waits until it listens. None if it is not installed.
    fn start() -> Option<Self> {
        let is_there = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok();
        if !is_there || !Path::new(MODULE).exists() {
            testing::skip("nginx with nchan");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        // nginx takes no port 0: a port that was free a moment ago has to do.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let at = folder.path().display();
        let config = format!(
            "load_module {MODULE}; daemon off; master_process off; pid {at}/pid;
             error_log {at}/error.log;
             events {{ worker_connections 64; }}
             http {{
                 access_log off;
                 client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
                 fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi;
                 scgi_temp_path {at}/scgi;
                 server {{
                     listen {address};
                     location ~ ^/test/(\\d+)$ {{
                         nchan_subscriber http-chunked; nchan_channel_id $1;
                     }}
                     location = /pub {{ nchan_publisher; nchan_channel_id $arg_id;
                         nchan_message_buffer_length 100; }}
                 }}
             }}"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).unwrap();
        let mut process = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&path)
            .spawn()
            .unwrap();
        wait_until("nginx listens", || {
            assert!(process.try_wait().unwrap().is_none(), "nginx ended");
            TcpStream::connect(&address).is_ok()
        });
        Some(Self { process, address, _folder: folder })
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

#[test]
fn nchan_delivers_what_was_sent_to_it() {
    let Some(nchan) = Nchan::start() else {
        println!("SKIPPED nchan");
        return;
    };
    let mut follower = TcpStream::connect(&nchan.address).unwrap();
    follower.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(follower, "GET /test/1 HTTP/1.1\r\nHost: test\r\nTE: chunked\r\n\r\n").unwrap();
    // It keeps messages for those who come later, so it does not matter who is first.
    let flags = "--num 20 --interval 2 --max 1 --sources 2 --in-flight 4 --json";
    let to = format!("http://{}/pub?id={{id}}", nchan.address);
    let report = msggen(&format!("{flags} --to {to}")).code(0).balanced();
    assert_eq!(report["answered"], 40);
    let mut n_received = 0;
    for line in BufReader::new(follower).lines() {
        n_received += usize::from(line.unwrap().starts_with("Fake message Num = "));
        if n_received == 40 {
            return;
        }
    }
    panic!("{n_received} of 40 received");
}
