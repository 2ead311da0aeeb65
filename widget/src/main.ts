// The browser script of civgate: reads window.civchat, exposes window.UE and window.userengage, and tells the gateway who
// visits which page. It never throws into the page, never blocks it and runs once however often it is included.
//
//   main.ts       starts, keeps civchat and the public calls
//   payload.ts    what goes on the wire (pure)
//   visitor.ts    the visitor key: cookie and mirror
//   page.ts       addresses, route changes, leaving and coming back
//   transport.ts  the queue and its delivery
//   storage.ts    localStorage, or memory where it is blocked
//   debug.ts      console lines with civchat.debug
import { Wire, isOther, message, messageId, personal, wire } from './payload';
import { arrive, current, renew } from './visitor';
import { address, count, justCounted, referrer, watch } from './page';
import { leave, open, push, retry } from './transport';
import { guard, log } from './debug';

const w = window as any;

/** The product events that the contract knows (usercom-contract 1.3). */
const productEvent =
  /^(add|add to cart|add to observation|checkout|checkout option|click|detail|liking|order|promo click|purchase|refund|remove|reservation|return|view)$/;

const enum Limit {
  /** Calls that came before civchat did; more than this many are not a page's work. */
  held = 1000,
  /** Characters of an address or title. */
  text = 2048,
}

/** Bounds a text of the page, which may be no text: a form named "title" takes the place of document.title. */
const cut = (text: unknown): string => ('' + text).slice(0, Limit.text);

function boot(): void {
  /** Calls that wait for the start. */
  const held: (() => void)[] = [];
  let started = false;
  let alive = true;
  let apiKey: unknown;
  let sent = '';
  let told = '';
  let toldTo: any;
  let unwatch = () => {};
  let release = () => {};
  let pollTime = 200;

  // The gateway replaces these two texts when its settings say so; see widget.go.
  const script = (document.currentScript as HTMLScriptElement | null) || document.querySelector<HTMLScriptElement>('script[src*="/widget.js"]');
  open(new URL('./ingest', (script && script.src) || location.href).href);

  /** Calls a function that the page put into civchat. */
  const callback = guard((name: string) => {
    if (w.civchat[name]) w.civchat[name]();
  });

  /** The key to use now. The page is told once through civchat.userKey, which may be a setter that writes the cookie. */
  const visitor = (named: unknown): string => {
    const key = current(named);
    if (told != key || toldTo != w.civchat) {
      told = key;
      toldTo = w.civchat;
      guard(() => (toldTo.userKey = key))();
    }
    return key;
  };

  /** Writes what a call said into civchat, so that later page views speak of the same person. */
  const become = (data: Wire, forget: boolean): void => {
    const old = w.civchat || {};
    const kept: Wire = {};
    let target = old;
    for (const name of Object.keys(old)) {
      // Asked this way, a getter of the page isn't run.
      const value = Object.getOwnPropertyDescriptor(old, name)!.value;
      if (!forget || name == 'apiKey' || !personal(name, value)) kept[name] = value;
      else if (!Reflect.deleteProperty(old, name)) target = kept;
    }
    try {
      Object.assign(target, data);
    } catch (e) {
      // A frozen object: go on with a copy.
      target = Object.assign(kept, data);
    }
    w.civchat = target;
  };

  /** Takes over a call's identity. Another person must not inherit the attributes of the one before. */
  const meet = (data: Wire): void => {
    if ('user_id' in data || 'email' in data) become(data, isOther(wire(w.civchat), data));
  };

  /** What civchat and a call say; a civchat that was replaced may lack the apiKey of the start. */
  const attributes = (data?: Wire): Wire => Object.assign({ apiKey }, wire(w.civchat), data);

  const send = (type: string, data?: Wire, name?: string, info?: Wire): void => {
    const now = Date.now();
    const id = messageId(now);
    const body = attributes(data);
    sent = JSON.stringify(body);
    const text = message(body, {
      id,
      key: visitor(body.user_id || body.email),
      at: new Date(now).toISOString(),
      type,
      url: cut(address()),
      path: cut(location.pathname),
      title: cut(document.title),
      referrer: cut(referrer()),
      name,
      data: info,
    });
    if (text) push(id, text);
    else log('too large', type);
  };

  const view = (data?: Wire): void => {
    if (!alive) return;
    count();
    send('page', data);
  };

  /** Sends an update when it says something that the last message didn't. */
  const changed = (data?: Wire): void => {
    if (JSON.stringify(attributes(data)) != sent) send('update', data);
  };

  /** Starts as soon as there is an apiKey and the page is more than a preparation of the browser. */
  const start = guard(() => {
    if (started || !alive || !(apiKey = wire(w.civchat).apiKey)) return;
    if ((document as any).prerendering) return document.addEventListener('prerenderingchange', start);
    started = true;
    arrive();
    view();
    unwatch = watch(() => view(), leave, retry);
    held.forEach((call) => call());
    callback('onLoad');
  });

  /** Notices a civchat that is set or replaced later; where the page forbids that, poll finds it. */
  const intercept = guard(() => {
    const now = Object.getOwnPropertyDescriptor(w, 'civchat');
    if (now && !(now.configurable && 'value' in now)) return;
    let value = w.civchat;
    Object.defineProperty(w, 'civchat', {
      configurable: true,
      enumerable: true,
      get: () => value,
      set(next) {
        value = next;
        // The rest of the page's script may fill it.
        Promise.resolve().then(guard(() => (started ? alive && changed() : start())));
      },
    });
    release = () => {
      delete w.civchat;
      w.civchat = value;
    };
  });

  const poll = (): void => {
    start();
    if (!started && alive) setTimeout(poll, (pollTime *= 1.2));
  };

  const ready = (call: () => void): void => {
    if (started) call();
    else if (held.length < Limit.held) held.push(guard(call));
  };

  /** A public call with an object: it is read at once, and run when the script has started. */
  const method = (work: (data: Wire) => void) =>
    guard((object?: unknown) => {
      if (!alive) return;
      const data = wire(object);
      if (!started && data.apiKey) {
        become(data, false);
        start();
      }
      ready(() => work(data));
    });

  const update = method((data) => {
    meet(data);
    send('update', data);
  });
  const identify = method((data) => {
    become(data, isOther(wire(w.civchat), data));
    changed();
  });
  const resetAuth = method((data) => {
    renew();
    become(data, true);
    send('reset');
  });

  const event = (name: string, info: Wire, type: string): void => ready(() => send(type, {}, name, info));

  const UE: Record<string, (...args: any[]) => void> = {
    pageHit: method((data) => {
      // Some clients send pageHit({URL: path}): it is the page's and no attribute.
      delete data.URL;
      meet(data);
      if (justCounted()) changed(data);
      else view(data);
    }),
    resetAuth,
    resetAll: resetAuth,
    init: identify,
    refresh: identify,
    destroy: guard(() => {
      if (!alive) return;
      leave(false);
      alive = false;
      open('');
      unwatch();
      release();
      delete w.__civgate;
    }),
    push: (...calls: any[]) => calls.forEach(guard((call) => UE[call[0]](call[1]))),
  };

  const userengage = guard((name: string, data?: unknown) => {
    if (!alive) return;
    if (/^event\../.test(name)) {
      event(name.slice(6), wire(data), 'event');
    } else if (name == 'product_event') {
      for (const item of [].concat(data as any)) {
        const one = wire(item);
        if (one.product_id && productEvent.test(one.event_type as string)) event(one.event_type as string, one, name);
        else log('invalid call', item);
      }
    } else if (name == 'client.update') {
      update(data);
    } else if (name == 'widget.open') {
      callback('onOpen');
    } else if (name == 'widget.close') {
      callback('onClose');
    } else {
      log('invalid call', name);
    }
  });

  /** The calls that a stub has collected, in an array of its own or under q. */
  const early = (stub: any): any[] => [].concat((stub && stub.q) || stub || []);
  const methods = early(w.UE);
  const calls = early(w.userengage);
  w.UE = UE;
  w.userengage = userengage;
  intercept();
  UE.push(...methods);
  calls.forEach(guard((call) => userengage(call[0], call[1])));
  poll();
}

guard(() => {
  if (w.__civgate) return;
  w.__civgate = 1;
  boot();
})();
