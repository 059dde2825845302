//! A listing that another server gives, after a redirect: it is told no token, on later pages neither.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use evenburn_locations::{Environment, Settings, Storage};

use crate::hub::list;

/// Requests as they came, with their headers.
type Requests = Arc<Mutex<Vec<String>>>;

/// Answers every request with what a function says of its path, until the test ends.
fn serve(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) -> Requests {
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let request = request(&stream);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            kept.lock().unwrap().push(request);
            let _ = stream.write_all(answer(&path).as_bytes());
        }
    });
    requests
}

fn request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    head.join("\n").to_ascii_lowercase()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

#[test]
fn another_server_never_sees_the_token() {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (hub, other) = (listen(), listen());
    let address = |of: &TcpListener| format!("http://{}", of.local_addr().unwrap());
    let (hub_address, other_address) = (address(&hub), address(&other));
    let target = other_address.clone();
    let asked = serve(hub, move |path| {
        if path.contains("/revision/") {
            let body = format!("{{\"sha\": \"{}\"}}", "a".repeat(40));
            return answer("200 OK", "", &body);
        }
        let to = format!("location: {target}{path}\r\n");
        answer("307 Temporary Redirect", &to, "")
    });
    let more = format!("link: <{other_address}/more>; rel=\"next\"\r\n");
    let seen = serve(other, move |_| answer("200 OK", &more, "[]"));
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().to_str().unwrap();
    let environment: Environment = [
        ("HF_ENDPOINT", hub_address.as_str()),
        ("HF_TOKEN", "hf_good"),
        ("HF_HOME", folder),
        ("HOME", folder),
    ]
    .into_iter()
    .collect();
    let storage = Storage::new(Settings {
        environment,
        ..Settings::of_process(home.path())
    })
    .unwrap();
    let error = list(&storage, "hf://datasets/a/b").unwrap_err();
    assert_eq!(error.class(), "bad_listing", "{error}");
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|request| request.contains("hf_good")));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(!seen[0].contains("hf_good"), "{seen:?}");
}
