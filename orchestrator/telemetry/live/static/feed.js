// The server's events of one run. The browser reconnects by itself and says what it has seen (Last-Event-ID).

/** Listen to the run of a key; `on` has runs, update, state (connecting, open, lost, over) and ended(served). */
export function listen(key, on) {
  const source = new EventSource(`api/runs/${encodeURIComponent(key)}/events`);
  on.state("connecting");
  source.addEventListener("open", () => on.state("open"));
  source.addEventListener("error", () => on.state("lost"));
  source.addEventListener("runs", (event) => on.runs(JSON.parse(event.data)));
  source.addEventListener("update", (event) => on.update(JSON.parse(event.data)));
  source.addEventListener("end", (event) => {
    source.close();
    on.state("over");
    on.ended(JSON.parse(event.data).served);
  });
  return () => source.close();
}
