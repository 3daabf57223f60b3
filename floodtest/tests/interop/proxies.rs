//! nginx, haproxy and a certificate for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{Program, listen};

/// A proxy, or nginx as a server of its own, with its folder.
pub(crate) struct Proxy {
    /// The program. It ends before its folder goes.
    _program: Program,
    /// Its configuration, its certificate and what else it writes.
    folder: tempfile::TempDir,
    /// Its port.
    pub(crate) port: u16,
}

impl Proxy {
    /// The certificate that clients of a proxy with TLS are to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }
}

/// Whether a proxy speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// nginx with nchan: events, chunks or long polls under `/sub/`, a stream without borders under
/// `/raw/`; messages are taken under `/pub/`.
pub(crate) fn nchan() -> Proxy {
    nginx("load_module /usr/lib/nginx/modules/ngx_nchan_module.so;", |port| {
        format!(
            "server {{
                listen 127.0.0.1:{port};
                nchan_message_buffer_length 10000;
                location ~ ^/sub/(\\d+)$ {{ nchan_subscriber; nchan_channel_id $1; }}
                location ~ ^/raw/(\\d+)$ {{
                    nchan_subscriber http-raw-stream; nchan_channel_id $1;
                }}
                location ~ ^/pub/(\\d+)$ {{ nchan_publisher; nchan_channel_id $1; }}
            }}"
        )
    })
}

/// nginx before a server, without buffering.
pub(crate) fn nginx_before(upstream: &str, tls: Tls) -> Proxy {
    let upstream = upstream.to_owned();
    nginx("", move |port| {
        let secure = match tls {
            Tls::On => "ssl_certificate cert.pem; ssl_certificate_key key.pem;",
            Tls::Off => "",
        };
        let ssl = if tls == Tls::On { " ssl" } else { "" };
        format!(
            "map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            server {{
                listen 127.0.0.1:{port}{ssl} backlog=1024;
                {secure}
                location / {{
                    proxy_pass {upstream};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_buffering off;
                    proxy_read_timeout 1h;
                }}
            }}"
        )
    })
}

/// nginx with this server.
fn nginx(module: &str, server: impl Fn(u16) -> String) -> Proxy {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make_certificate(here);
    let start = |port: u16| {
        let configuration = format!(
            "{module}
            daemon off;
            {user}
            worker_processes 1;
            pid nginx.pid;
            error_log error.log;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                {server}
            }}",
            // Its worker may otherwise not read the folder; only root can and needs to say so.
            user = if rustix::process::geteuid().is_root() { "user root;" } else { "" },
            server = server(port)
        );
        fs::write(here.join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(here).args(["-c", "nginx.conf", "-e", "error.log"]);
        command
    };
    let (program, port) = listen(start);
    Proxy { _program: program, folder, port }
}

/// haproxy before a server.
pub(crate) fn haproxy_before(upstream: &str, tls: Tls) -> Proxy {
    let upstream = upstream.strip_prefix("http://").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make_certificate(here);
    let both = ["cert.pem", "key.pem"].map(|name| fs::read_to_string(here.join(name)).unwrap());
    fs::write(here.join("both.pem"), both.concat()).unwrap();
    let start = |port: u16| {
        let both = here.join("both.pem");
        let secure = match tls {
            Tls::On => format!("ssl crt {}", both.display()),
            Tls::Off => String::new(),
        };
        let configuration = format!(
            "global\n  maxconn 4096\n\
             defaults\n  mode http\n\
             \x20 timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             frontend front\n  bind 127.0.0.1:{port} {secure} backlog 1024\n\
             \x20 default_backend back\n\
             backend back\n  server one {upstream}\n"
        );
        let path = here.join("haproxy.cfg");
        fs::write(&path, configuration).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(path);
        command
    };
    let (program, port) = listen(start);
    Proxy { _program: program, folder, port }
}

/// Makes the commonest certificate: one that has signed itself, and calls itself an authority.
fn make_certificate(folder: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    command.args(["-keyout", "key.pem", "-out", "cert.pem"]).current_dir(folder);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&made.stderr));
}
