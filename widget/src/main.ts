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
import { Wire, isOther, message, messageId, wire } from './payload';
import { arrive, current, renew } from './visitor';
import { address, count, justCounted, referrer, watch } from './page';
import { leave, open, push, retry } from './transport';
import { guard, log, w } from './debug';

/** The product events that the contract knows (usercom-contract 1.3). */
const productEvent =
  /^(add( to (cart|observation))?|checkout( option)?|(promo )?click|detail|liking|order|purchase|re(fund|move|servation|turn)|view)$/;

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
  let loadedFor: any;
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
    let target = w.civchat || {};
    // A frozen object: go on with a copy.
    if (!Object.isExtensible(target)) target = { ...target };
    // What was never sent, such as callbacks and steering keys, is the page's and stays.
    if (forget) for (const name of Object.keys(wire(target))) if (name != 'apiKey') delete target[name];
    Object.assign(target, data);
    if (target != w.civchat) w.civchat = target;
  };

  /**
   * Takes over who a call names, and what it says of attributes that civchat has: the next message would bring back the
   * old ones. Another person must not inherit the attributes of the one before.
   */
  const meet = (data: Wire): void => {
    const now = wire(w.civchat);
    const said: Wire = {};
    for (const name of Object.keys(data)) if (data.user_id || data.email || name in now) said[name] = data[name];
    become(said, isOther(now, data));
  };

  /** What civchat and a call say; a civchat that was replaced may lack the apiKey of the start. */
  const attributes = (data?: Wire): Wire => ({ apiKey, ...wire(w.civchat), ...data });

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
      referrer: cut(referrer),
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

  // Included again, the script tells a civchat that replaced the first one: a part of the page may wait for it.
  w.__civgate = () => {
    if (!started || loadedFor == w.civchat) return;
    loadedFor = w.civchat;
    callback('onLoad');
  };

  /** Starts as soon as there is an apiKey and the page is more than a preparation of the browser. */
  const start = guard(() => {
    if (started || !alive || !(apiKey = wire(w.civchat).apiKey)) return;
    if ((document as any).prerendering) return document.addEventListener('prerenderingchange', start);
    started = true;
    arrive();
    view();
    unwatch = watch(view, leave, retry);
    held.forEach((call) => call());
    w.__civgate();
  });

  /** Notices a civchat that is set or replaced later; where the page forbids that, poll finds it. */
  const intercept = guard(() => {
    const now = Object.getOwnPropertyDescriptor(w, 'civchat');
    if (now && (now.get || !now.configurable)) return;
    let value = w.civchat;
    Object.defineProperty(w, 'civchat', {
      configurable: true,
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

  const event = (name: string, data: unknown, type: string): void => {
    // It lies one level deeper in the message than attributes do, and may use every name.
    const info = wire(data, [0, data]);
    ready(() => send(type, {}, name, info));
  };

  /** The array form of calls, which a page goes on with when its stub was an array. */
  const queue =
    (work: (name: string, data: unknown) => void) =>
    (...calls: any[]) =>
      calls.forEach(guard((call) => work(call[0], call[1])));

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
    push: queue((name, data) => UE[name](data)),
  };

  const userengage: any = guard((name: string, data?: unknown) => {
    if (!alive) return;
    if (/^event\../.test(name)) {
      event(name.slice(6), data, 'event');
    } else if (name == 'product_event') {
      for (const item of [].concat(data as any) as any[]) {
        if (item && item.product_id && productEvent.test(item.event_type)) event(item.event_type, item, name);
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

  userengage.push = queue(userengage);

  /** The calls that a stub has collected, in an array of its own or under q. */
  const early = (stub: any): any[] => [].concat((stub && stub.q) || stub || []);
  const methods = early(w.UE);
  const calls = early(w.userengage);
  // Some pages have another library under this name.
  w.UE = { ...w.UE, ...UE };
  w.userengage = userengage;
  intercept();
  UE.push(...methods);
  userengage.push(...calls);
  poll();
}

guard(() => {
  if (w.__civgate) w.__civgate();
  else boot();
})();
