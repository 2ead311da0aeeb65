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
const productEvents =
  'add to cart,purchase,liking,add to observation,order,reservation,return,view,click,detail,add,remove,checkout,checkout option,refund,promo click'.split(',');

/** Calls that came before civchat did; more than this many are not a page's work. */
const maxHeld = 1000;

function boot(): void {
  /** Calls that wait for the start. */
  const held: (() => void)[] = [];
  let started = false;
  let alive = true;
  let sent = '';
  let unwatch = () => {};
  let release = () => {};
  let pollTime = 200;

  // The gateway replaces these two texts when its settings say so; see widget.go.
  const script = (document.currentScript as HTMLScriptElement | null) || document.querySelector<HTMLScriptElement>('script[src*="/widget.js"]');
  open(new URL('./ingest', (script && script.src) || location.href).href);

  /** Calls a function that the page put into civchat. */
  const callback = guard((name: string) => {
    if (typeof w.civchat[name] == 'function') w.civchat[name]();
  });

  /** The key to use now; the page is told through civchat.userKey, which may be a setter of the page. */
  const visitor = (): string => {
    const key = current();
    guard(() => {
      if (w.civchat.userKey != key) w.civchat.userKey = key;
    })();
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

  const attributes = (data?: Wire): Wire => Object.assign(wire(w.civchat), data);

  const send = (type: string, data?: Wire, more?: Wire): void => {
    const now = Date.now();
    const id = messageId(now);
    const body = attributes(data);
    sent = JSON.stringify(body);
    const text = message(body, Object.assign({
      id,
      key: visitor(),
      at: new Date(now).toISOString(),
      type,
      url: address().slice(0, 2048),
      path: location.pathname.slice(0, 2048),
      title: document.title.slice(0, 255),
      referrer: referrer().slice(0, 2048),
    }, more));
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
    if (started || !alive || !wire(w.civchat).apiKey) return;
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
    else if (held.length < maxHeld) held.push(guard(call));
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

  const event = (name: string, data: Wire, type: string): void => ready(() => send(type, undefined, { name, data }));

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
    push: guard((...calls: any[]) => calls.forEach((call) => UE[call[0]](call[1]))),
  };

  const userengage = guard((name: string, data?: unknown) => {
    if (!alive) return;
    if (/^event\../.test(name)) {
      event(name.slice(6), wire(data), 'event');
    } else if (name == 'product_event') {
      for (const item of [].concat(data as any)) {
        const one = wire(item);
        if (one.product_id && productEvents.indexOf(one.event_type as string) >= 0) event(one.event_type as string, one, name);
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

  const earlyCalls = (w.userengage && w.userengage.q) || [];
  const earlyMethods = [].concat((w.UE && w.UE.q) || w.UE || []);
  w.UE = UE;
  w.userengage = userengage;
  intercept();
  UE.push(...earlyMethods);
  for (const call of earlyCalls) userengage(call[0], call[1]);
  poll();
}

guard(() => {
  if (w.__civgate) return;
  w.__civgate = 1;
  boot();
})();
