// The socket to the server: questions, events of their jobs, and connecting again.

const WAITS = [250, 500, 1000, 2000, 4000]; // ms between attempts; the last one repeats
const PATIENCE = 8000; // ms without a server until it is said to have stopped
const MOST = 10 ** 6; // letters of a message that the server reads
const STOPPED = 1012; // the code with which a server that ends closes its sockets
// The server ends these with the connection. All others are asked again when there is a new one.
const ENDING = new Set(["lab.run", "lab.prepare", "inside.record", "map.start"]);

// The error of a question that has no answer: `kind` is failed, cancelled, stale or lost.
export class NoAnswer extends Error {
  constructor(kind, words) {
    super(words);
    this.kind = kind;
  }
}

export class Socket {
  #address;
  #socket = null;
  #asked = new Map();
  #unsent = [];
  #next = 1;
  #attempts = 0;
  #lost = null;
  #ended = false;
  #changed;

  // `changed(state, data)`: state is open, lost or stopped, or worker with the data of the event.
  constructor(changed) {
    const place = new URL("socket", document.baseURI);
    place.protocol = "ws:";
    place.hash = place.search = "";
    this.#address = place.href;
    this.#changed = changed;
    this.#connect();
    // A page that is shown again does not wait for the next attempt.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#socket === null && !this.#ended) this.#connect();
    });
  }

  // A promise of the data of `done`, with `cancel()`. A question of the same slot takes its place.
  ask(job, args = {}, { slot = job, onpart, onprogress, onwaiting } = {}) {
    const id = this.#next++;
    const text = JSON.stringify({ id, job, slot, args });
    if (text.length > MOST) {
      const words = `this has ${text.length.toLocaleString("en")} letters; at most ${MOST.toLocaleString("en")} are read`;
      return Object.assign(Promise.reject(new NoAnswer("failed", words)), { cancel: () => {} });
    }
    if (this.#ended) return Object.assign(Promise.reject(new NoAnswer("lost", "the server has stopped")), { cancel: () => {} });
    const answer = new Promise((resolve, reject) => {
      this.#asked.set(id, { job, slot, text, resolve, reject, onpart, onprogress, onwaiting });
    });
    answer.cancel = () => {
      if (!this.#asked.has(id)) return;
      const waiting = this.#unsent.findIndex((question) => question.id === id);
      if (waiting < 0) this.#send(JSON.stringify({ cancel: id }));
      else {
        this.#unsent.splice(waiting, 1);
        this.#end(id, "cancelled", "cancelled");
      }
    };
    if (!this.#send(text)) this.#wait({ id, slot, text });
    return answer;
  }

  // Keeps a question until there is a connection, and of each slot the newest.
  #wait(question) {
    const older = this.#unsent.findIndex(({ slot }) => slot === question.slot);
    if (older >= 0) this.#end(this.#unsent.splice(older, 1)[0].id, "stale", "a newer one was asked");
    this.#unsent.push(question);
  }

  #send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  #connect() {
    clearTimeout(this.#lost?.timer);
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempts = 0;
      this.#lost = null;
      this.#changed("open");
      for (const { text } of this.#unsent.splice(0)) this.#send(text);
    };
    socket.onmessage = (message) => this.#heard(JSON.parse(message.data));
    socket.onclose = (event) => this.#closed(event);
  }

  #closed(event) {
    this.#socket = null;
    this.#ended ||= event.code === STOPPED;
    this.#lost ??= { since: Date.now() };
    const unsent = new Set(this.#unsent.splice(0).map(({ id }) => id));
    for (const [id, { job, slot, text }] of [...this.#asked]) {
      const isEnded = this.#ended || (ENDING.has(job) && !unsent.has(id));
      if (isEnded) this.#end(id, "lost", "the connection to the server was lost");
      else this.#wait({ id, slot, text });
    }
    // The next server has another token, so there is nothing to connect to again.
    if (this.#ended) return this.#changed("stopped");
    const isGone = Date.now() - this.#lost.since > PATIENCE;
    this.#changed(isGone ? "stopped" : "lost", { reason: event.reason });
    const wait = WAITS[Math.min(this.#attempts++, WAITS.length - 1)];
    this.#lost.timer = setTimeout(() => this.#connect(), wait);
  }

  #end(id, kind, words) {
    const { reject } = this.#asked.get(id);
    this.#asked.delete(id);
    reject(new NoAnswer(kind, words));
  }

  #heard({ id, event, data }) {
    if (event === "worker") return this.#changed("worker", data);
    const asked = this.#asked.get(id);
    if (!asked) return;
    if (event === "done") {
      this.#asked.delete(id);
      asked.resolve(data);
    } else if (event === "failed") this.#end(id, "failed", data.error);
    else if (event === "cancelled") this.#end(id, "cancelled", "cancelled");
    else if (event === "stale") this.#end(id, "stale", "a newer one was asked");
    else asked["on" + event]?.(data);
  }
}
