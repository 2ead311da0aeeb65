// Delivery. Every message is stored first, under a name of its own that sorts by time, and is removed only when the
// gateway has answered for it. So tabs never overwrite each other, a page that is left loses nothing, and what is sent
// twice has no effect, because the gateway knows the message's id. One tab sends at a time, oldest first: the order of a
// visitor's messages is kept.
import { retryAfter, size } from './payload';
import { get, names, remove, set } from './storage';
import { log } from './debug';

const queue = '__ca__q';
/** Name of the tabs' lock, and of the lease in storage where the browser has no locks (pages without https). */
const lock = '__ca__l';
/** Until when the gateway asked for silence; shared by all tabs and pages. */
const silence = '__ca__w';

/** Sizes in bytes, times in milliseconds. A const enum, because the bundler writes its numbers where they are used. */
const enum Limit {
  messages = 1000,
  stored = 512 << 10,
  age = 7 * 24 * 3600e3,
  batch = 50,
  /** Two of these fit in the 64 KiB that a browser allows for requests that outlive their page. */
  body = 30000,
  answer = 30e3,
  lease = 40e3,
  silence = 3600e3,
  backoff = 300e3,
}

/** Messages that nobody was given yet, so a page that is left hands them to a beacon. */
const fresh = new Set<string>();

let target = '';
let busy = false;
let leased = false;
let timer = 0;
let fails = 0;

/** The milliseconds until a stored time. More than could have been stored means that the clock was set back: then 0. */
function left(name: string, most: number): number {
  const ms = +get(name)! - Date.now();
  return ms > 0 && ms <= most ? ms : 0;
}

/** The waiting messages, oldest first, after dropping the oldest beyond the bounds. */
function waiting(): string[] {
  let stored = 0;
  let count = 0;
  return names(queue)
    .reverse()
    .filter((name) => {
      const made = parseInt(name.slice(queue.length).replace('-', ''), 16);
      const text = get(name) || '';
      stored += size(text);
      if (text && ++count <= Limit.messages && stored <= Limit.stored && Date.now() - made < Limit.age) return true;
      fresh.delete(name);
      remove(name);
      return false;
    })
    .reverse();
}

/** Takes the first messages that fit in one request. */
function batch(from: string[], most: number): [string[], string] {
  const taken: string[] = [];
  const texts: string[] = [];
  let bytes = 0;
  for (const name of from) {
    // Another tab may have sent it in the meantime.
    const text = get(name);
    if (!text) continue;
    bytes += size(text);
    if (taken.length && (taken.length >= most || bytes > Limit.body)) break;
    taken.push(name);
    texts.push(text);
  }
  return [taken, texts.length > 1 ? '[' + texts.join() + ']' : texts[0]];
}

/** Sends until nothing waits or the gateway can't take more. */
async function drain(): Promise<void> {
  for (let most: number = Limit.batch; target; ) {
    if (leased) set(lock, Date.now() + Limit.lease);
    const [taken, body] = batch(waiting(), most);
    if (!taken.length) return;
    taken.forEach(fresh.delete, fresh);

    let status = 0;
    let asked = 0;
    let results: any;
    try {
      await Promise.race([
        // A text body is a simple request: no preflight. Browsers bound what may outlive the page, so a second try does without.
        fetch(target, { method: 'POST', body, keepalive: !fails, credentials: 'omit' }).then(async (answer) => {
          status = answer.status;
          asked = Math.min(retryAfter(answer.headers.get('Retry-After'), Date.now()), Limit.silence);
          results = (await answer.json()).results;
        }),
        new Promise((_, late) => setTimeout(late, Limit.answer)),
      ]);
    } catch {
      // No answer, or one without a body to read, even one that never ends: the status decides.
    }
    let again = !status || status == 429 || status >= 500;
    if (!again && status >= 400) {
      log('refused', status);
      // Something in this request is bad: one by one, it can't take the others along.
      if (taken.length > 1) {
        most = 1;
        continue;
      }
    }
    taken.forEach((name, i) => {
      const error = results && results[i] && results[i].error;
      if (error) log('refused', error);
      if (again || (error && /rate_limited|unavailable/.test(error.code))) {
        fresh.add(name);
        asked = asked || -1;
      } else {
        remove(name);
      }
    });
    if (asked) {
      if (asked > 0) set(silence, Date.now() + asked);
      return later((asked > 0 ? asked : Math.min(2 ** fails++ * 1e3, Limit.backoff)) * (1 + Math.random() / 2));
    }
    fails = 0;
  }
}

/** Runs drain in one tab at a time. */
async function alone(): Promise<void> {
  try {
    await navigator.locks.request(lock, drain);
  } catch {
    // No locks here. The lease is not atomic; should two tabs take it, the gateway drops what comes twice.
    if (left(lock, Limit.lease)) return later(500);
    leased = true;
    await drain();
    release();
  }
}

function release(): void {
  if (leased) remove(lock);
  leased = false;
}

function later(ms: number): void {
  timer = setTimeout(retry, ms);
}

/** Sends what waits, unless it is being sent or has to wait. */
export function flush(): void {
  if (busy || timer || !target) return;
  const pause = left(silence, Limit.silence);
  if (pause) return later(pause);
  if (!waiting().length) return;
  busy = true;
  alone().then(() => {
    busy = false;
    flush();
  });
}

/** Sends without waiting any longer: it is time, or the network is back. */
export function retry(): void {
  clearTimeout(timer);
  timer = 0;
  flush();
}

/** Stores a message and sends it when the current script is done, together with what else it made. */
export function push(id: string, text: string): void {
  set(queue + id, text);
  fresh.add(queue + id);
  // While nothing can be sent, the bounds are held now and then: counting each time would cost the page.
  if (fresh.size % 32 == 0) waiting();
  Promise.resolve().then(flush);
}

/**
 * Hands what nobody was given yet to beacons, since the page may not live to send it. A beacon brings no answer, so the
 * messages stay in the queue; the next page sends them again and the gateway drops them as known. When there is more than
 * one beacon, the network may swap them.
 */
export function leave(closing: boolean): void {
  if (closing) release();
  if (left(silence, Limit.silence)) return;
  for (;;) {
    const [taken, body] = batch([...fresh].sort(), Limit.batch);
    if (!taken.length || !navigator.sendBeacon(target, body)) return;
    taken.forEach(fresh.delete, fresh);
  }
}

/** Where messages go. '' stops the delivery; what waits stays in the queue. */
export function open(url: string): void {
  target = url;
  clearTimeout(timer);
}
