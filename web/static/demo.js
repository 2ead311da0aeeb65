// The demo page. Two halves that know nothing of each other but the visitor key:
//
//   the shop    moves between its pages, keeps a cart, signs people in and out
//               through the documented calls of the widget, as any site would
//   the view    follows GET /demo/live for the key in the cookie __ca__chat and
//               shows the snapshots that it sends
//
// Text that came from outside is only ever put into the page as text.

const data = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);

/** Makes an element. Properties that the element has are set, others become attributes. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === false) continue;
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

function svg(name, className) {
  const space = 'http://www.w3.org/2000/svg';
  const element = document.createElementNS(space, 'svg');
  element.setAttribute('class', className || 'i');
  element.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(space, 'use');
  use.setAttribute('href', '#' + name);
  element.append(use);
  return element;
}

const icon = (name) => svg('i-' + name);
const count = (n, one, many) => n.toLocaleString('en') + ' ' + (n === 1 ? one : many || one + 's');

/** sessionStorage, or memory where the browser has none for us. */
const memory = {
  kept: {},
  get(name) {
    try {
      return JSON.parse(sessionStorage.getItem('civgate_demo.' + name));
    } catch {
      return this.kept[name];
    }
  },
  set(name, value) {
    this.kept[name] = value;
    try {
      sessionStorage.setItem('civgate_demo.' + name, JSON.stringify(value));
    } catch {
      // Kept for this page then.
    }
  },
};

// ---------------------------------------------------------------- the shop

const pages = [...document.querySelectorAll('.page')];

// Calls before the widget is there wait for it (contract, section 1.3).
window.userengage ||= function () {
  (window.userengage.q ||= []).push(arguments);
};

function show(focus) {
  const path = location.pathname.replace(/\/+$/, '') || '/demo';
  const page = pages.find((one) => one.dataset.path === path) || pages.find((one) => one.dataset.path === '/demo/404');
  for (const one of pages) one.hidden = one !== page;
  document.title = page.dataset.title + ' · Fernhill';
  $('address').textContent = location.host + location.pathname;
  for (const link of document.querySelectorAll('.shop nav a')) {
    if (path.startsWith(link.pathname)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (!focus) return;
  $('shop').scrollTop = 0;
  const heading = [...page.querySelectorAll('h1')].find((one) => one.checkVisibility());
  if (heading) heading.focus({ preventScroll: true });
}

function go(path) {
  if (path !== location.pathname) history.pushState(null, '', path);
  look('site');
  show(true);
}

addEventListener('popstate', () => show(true));
document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]');
  const inside = link && link.origin === location.origin && /^\/demo(\/|$)/.test(link.pathname) && !link.hash;
  if (!inside || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.pathname);
});

// Who is signed in

let person = document.cookie.split('; ').find((one) => one.startsWith(data.cookie + '='))?.slice(data.cookie.length + 1) || '';
if (!Object.hasOwn(data.people, person)) person = '';

/**
 * Puts another snippet into the page in place of the one that it carries: what a
 * server would do with the next page, done without loading one. The widget sees
 * that civchat was set and tells civgate.
 */
function carry(text) {
  const old = $('civchat');
  const next = h('script', { id: 'civchat', nonce: old.nonce, type: 'text/javascript', textContent: text });
  next.dataset.cfasync = 'false';
  old.replaceWith(next);
  shown(text);
}

function signIn(id) {
  if (id !== person) {
    person = id;
    document.cookie = `${data.cookie}=${id};path=/demo;samesite=lax`;
    carry(data.people[id].snippet);
    showPerson();
    tell(`Signed in as ${data.people[id].name}.`);
  }
  go('/demo/account');
}

function signOut() {
  if (!person) return go('/demo/account');
  person = '';
  document.cookie = `${data.cookie}=;path=/demo;max-age=0;samesite=lax`;
  startOver();
  // The next one who shops here starts with nothing.
  cart = {};
  memory.set('cart', cart);
  showCart();
  showPerson();
  tell('Signed out.');
  go('/demo');
}

/** Makes the browser a new visitor (contract, section 1.3: resetAuth is for logging out). */
function startOver() {
  window.UE?.resetAuth?.({ apiKey: window.civchat.apiKey });
  carry(data.anonymous);
  follow();
}

function showPerson() {
  const who = data.people[person];
  $('account-in').hidden = !who;
  $('account-out').hidden = Boolean(who);
  $('account-name').textContent = who ? who.name : '';
  $('account-company').textContent = who ? who.company : '';
  $('who').replaceChildren(...(who ? [h('span', { className: 'avatar small' }, initials(who.name)), h('span', {}, who.name)] : [h('span', {}, 'Sign in')]));
  for (const button of document.querySelectorAll('[data-in]')) button.setAttribute('aria-pressed', String(button.dataset.in === person));
}

const initials = (name) => name.split(/\s+/).filter(Boolean).slice(0, 2).map((word) => [...word][0]).join('').toUpperCase();

function tell(text) {
  $('shop-status').textContent = text;
}

// The cart

let cart = Object.fromEntries(Object.entries(memory.get('cart') || {}).filter(([id, n]) => Object.hasOwn(data.products, id) && n > 0 && n < 100));
const price = (cents) => '€' + (cents / 100).toFixed(2);

function product(event, id, quantity) {
  const { name, cents } = data.products[id];
  window.userengage('product_event', { product_id: id, event_type: event, name, price: cents / 100, currency: 'EUR', quantity });
}

function change(id, by) {
  const n = Math.min((cart[id] || 0) + by, 99);
  if (n > 0) cart[id] = n;
  else delete cart[id];
  memory.set('cart', cart);
  showCart();
  product(by > 0 ? 'add to cart' : 'remove', id, Math.abs(by));
  tell(`${data.products[id].name}: ${n > 0 ? n + ' in your cart' : 'removed from your cart'}.`);
}

function order() {
  let items = 0;
  let cents = 0;
  for (const [id, n] of Object.entries(cart)) {
    product('purchase', id, n);
    items += n;
    cents += n * data.products[id].cents;
  }
  window.userengage('event.Order placed', { items, total: cents / 100, currency: 'EUR' });
  cart = {};
  memory.set('cart', cart);
  showCart(true);
  tell('Your order is placed.');
}

function showCart(ordered) {
  const lines = Object.entries(cart);
  const items = lines.reduce((sum, [, n]) => sum + n, 0);
  $('cart-count').textContent = items;
  $('cart-count').hidden = !items;
  if (!items) {
    $('cart').replaceChildren(
      h('div', { className: 'nothing' },
        h('p', {}, ordered ? 'Thank you. Your coffee is roasted on Monday.' : 'Your cart is empty.'),
        h('a', { className: 'button', href: '/demo/coffees' }, 'See the coffees')));
    return;
  }
  // The buttons are made anew; who pressed one should still be on it.
  const held = document.activeElement?.dataset?.hold;
  $('cart').replaceChildren(
    h('ul', { className: 'lines' }, lines.map(([id, n]) => {
      const { name, cents, tint } = data.products[id];
      const button = (by, sign, label) =>
        h('button', { type: 'button', 'aria-label': label, 'data-hold': id + by, onclick: () => change(id, by) }, icon(sign));
      return h('li', {},
        h('span', { className: 'tile ' + tint }, svg('bag', 'bag ' + tint)),
        h('a', { href: '/demo/coffees/' + id }, name),
        h('span', { className: 'amount' }, button(-1, 'minus', `One ${name} less`), h('span', {}, String(n)), button(1, 'plus', `One ${name} more`)),
        h('span', { className: 'price' }, price(n * cents)));
    })),
    h('p', { className: 'total' },
      h('span', {}, 'Total ', h('b', {}, price(lines.reduce((sum, [id, n]) => sum + n * data.products[id].cents, 0)))),
      h('button', { className: 'button', type: 'button', onclick: order }, 'Place order')));
  if (held) document.querySelector(`[data-hold="${CSS.escape(held)}"]`)?.focus();
}

/** Says on a button that it worked, for a moment. */
function confirmOn(button, text) {
  const label = button.querySelector('span:not(.tick)') || button;
  if (label.dataset.was) return;
  label.dataset.was = label.textContent;
  label.textContent = text;
  setTimeout(() => {
    label.textContent = label.dataset.was;
    delete label.dataset.was;
  }, 1200);
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const { add, plan, step, in: who } = button.dataset;
  if (who) signIn(who);
  else if ('out' in button.dataset || step === 'out') signOut();
  else if (add) {
    change(add, 1);
    if (!step) confirmOn(button, 'Added');
  } else if (plan) {
    window.userengage('event.Plan chosen', { plan, seats: Number(button.dataset.seats), price: Number(button.dataset.cents) / 100, currency: 'EUR' });
    confirmOn(button, 'Noted');
    tell(`You chose the plan ${plan}.`);
  } else if (button.dataset.show) look(button.dataset.show);
});

// The switch of narrow screens

function look(at) {
  document.documentElement.dataset.view = at;
  for (const button of document.querySelectorAll('[data-show]')) button.setAttribute('aria-pressed', String(button.dataset.show === at));
  if (at === 'know') $('news').hidden = true;
}

// ------------------------------------------------------------- the snippet

let shownText = '';

/** Shows the snippet that the page carries; lines that the one before had not are marked. */
function shown(text) {
  // The address as the browser resolved it: the snippet works wherever it is pasted.
  const whole = `<script data-cfasync="false" type="text/javascript">${text}</script>\n` +
    `<script data-cfasync="false" type="text/javascript" src="${$('widget').src}"></script>`;
  const bare = (line) => line.replace(/,$/, '');
  const before = shownText && new Set(shownText.split('\n').map(bare));
  const code = $('code').firstElementChild;
  code.replaceChildren(...whole.split('\n').map((line) =>
    h('span', { className: 'line' + (before && !before.has(bare(line)) ? ' added' : '') }, coloured(line))));
  $('code').scrollTop = 0;
  shownText = whole;
  $('code-who').textContent = person ? `Signed in as ${data.people[person].name}` : 'Anonymous visitor';
}

function coloured(line) {
  if (line.startsWith('<')) return [line];
  const parts = [];
  const pattern = /("(?:[^"\\]|\\.)*")|([A-Za-z_][\w.]*)(?=\s*[:=])|\b(-?\d+(?:\.\d+)?|true|false)\b/g;
  let end = 0;
  for (const match of line.matchAll(pattern)) {
    parts.push(line.slice(end, match.index));
    parts.push(h('span', { className: match[1] ? 't-string' : match[2] ? 't-key' : 't-number' }, match[0]));
    end = match.index + match[0].length;
  }
  parts.push(line.slice(end));
  return parts;
}

$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(shownText);
    confirmOn($('copy'), 'Copied');
  } catch {
    // No clipboard without https or permission: leave it selected for the keyboard.
    getSelection().selectAllChildren($('code'));
    confirmOn($('copy'), 'Selected');
  }
});

// ---------------------------------------------------------------- the view

let followed = '';
let source = null;
let retry = 0;
let waited = 0;
let unheard = 0; // quarters of a second without anything of this visitor
let skew = 0; // the server's clock less ours
let snapshot = null;
let seen = new Set();
const drawn = {};
const began = memory.get('began') || Date.now();
memory.set('began', began);

function visitorKey() {
  const own = window.civchat && window.civchat.userKey;
  const cookies = document.cookie.split('; ').filter((one) => one.startsWith('__ca__chat=')).map((one) => one.slice(11));
  // The cookie knows of another tab's sign-out first; where there are several, the widget knows which counts.
  return [...(cookies.length === 1 ? cookies : []), own, ...cookies].find((key) => /^[A-Za-z0-9]{9,64}$/.test(key || '')) || '';
}

/** Follows the stream of the visitor key of the moment. A hidden page follows none: browsers open few connections to a host. */
function follow() {
  const key = document.hidden ? '' : visitorKey();
  if (key === followed) return;
  source?.close();
  source = null;
  clearTimeout(retry);
  followed = key;
  if (!key) return;
  source = new EventSource('/demo/live?key=' + encodeURIComponent(key));
  pulse('wait', 'Connecting');
  source.addEventListener('snapshot', (event) => {
    pulse('live', 'Live');
    const next = JSON.parse(event.data);
    skew = Date.parse(next.now) - Date.now();
    delete next.now;
    draw(next, key);
  });
  source.addEventListener('trouble', () => pulse('trouble', 'Civgate can’t read its store; trying again'));
  source.addEventListener('error', () => {
    if (source?.readyState !== EventSource.CLOSED) return pulse('wait', 'Connecting again');
    // Refused, as when too many people watch: the browser doesn't try again by itself.
    pulse('trouble', 'Busy; trying again in a moment');
    clearTimeout(retry);
    retry = setTimeout(() => {
      followed = '';
      follow();
    }, 5000 + Math.random() * 5000);
  });
}

function pulse(state, text) {
  $('pulse').dataset.state = state;
  $('pulse').textContent = text;
}

document.addEventListener('visibilitychange', follow);
addEventListener('pageshow', follow);
setInterval(() => {
  // The key changes with sign-out, also in another tab, and by what the site's server does.
  if (!document.hidden) follow();
  if (!followed && !document.hidden && !snapshot && ++waited === 16) {
    blank('The widget didn’t load', `Nothing answers at ${$('widget').src}, or a content blocker stopped it. Allow it for this page and reload.`);
    pulse('trouble', 'No visitor yet');
  }
  if (followed && !document.hidden && snapshot?.state === 'unknown' && ++unheard === 20) nothingYet();
}, 250);

/** Says that nothing has come; after five seconds without it, why that may be. */
function nothingYet() {
  if (unheard < 20) return blank('Waiting for the first page view', 'The widget is introducing this browser to civgate. It takes less than a second.');
  blank('Nothing has arrived', `The widget runs, but civgate has taken nothing from it. If the workspace names the sites that may send (civgate workspace set --origins), ${location.hostname} has to be one of them.`);
}

function blank(title, text, fresh) {
  $('blank').hidden = false;
  $('facts').hidden = true;
  $('blank-title').textContent = title;
  $('blank-text').textContent = text;
  $('fresh').hidden = !fresh;
}

$('fresh').addEventListener('click', () => {
  person = '';
  document.cookie = `${data.cookie}=;path=/demo;max-age=0;samesite=lax`;
  startOver();
  showPerson();
});

const nameOf = (contact) => contact.name || contact.email || (contact.known ? contact.custom_id : `Visitor ${contact.key}…`);
const entryId = (entry) => [entry.kind, entry.at, entry.title, entry.key].join('\n');

function draw(next, key) {
  // The last one with a contact: between two visitors there is a moment with none.
  const before = snapshot;
  next.of = key;
  if (next.contact || !snapshot) snapshot = next;
  narrate(before, next);
  step(before, next);
  if (next.state === 'elsewhere') {
    seen = new Set();
    blank('This browser is signed in elsewhere', 'It belongs to a contact that is not part of the demo, so nothing is shown here. Sign in as one of the six people, or start as a new visitor.', true);
    return;
  }
  if (next.state !== 'contact') {
    seen = new Set();
    nothingYet();
    return;
  }
  unheard = 0;
  $('blank').hidden = true;
  $('facts').hidden = false;
  part('identity', [next.contact], drawIdentity);
  part('companies', [next.companies || []], drawCompanies);
  part('attributes', [next.attributes || [], next.more_attributes || 0], drawAttributes);
  const timeline = next.timeline || [];
  const fresh = before?.state === 'contact' && before.of === key ? timeline.filter((entry) => !entry.other && !seen.has(entryId(entry))).map(entryId) : [];
  part('timeline', [timeline, next.contact], () => drawTimeline(timeline, next.contact, new Set(fresh)));
  seen = new Set(timeline.map(entryId));
  tick();
}

/** Draws one card anew when what it shows has changed, so that a selection elsewhere stays. */
function part(id, values, make) {
  const text = JSON.stringify(values);
  if (drawn[id] === text) return;
  $(id).replaceChildren(...make(...values));
  drawn[id] = text;
}

function time(at, prefix) {
  return h('time', { dateTime: at, 'data-prefix': prefix || '', title: new Date(at).toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'medium' }) }, (prefix || '') + ago(at));
}

function ago(at) {
  const seconds = (Date.now() + skew - Date.parse(at)) / 1000;
  if (seconds < 5) return 'just now';
  if (seconds < 60) return Math.floor(seconds) + ' s ago';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min ago';
  if (seconds < 86400) return Math.floor(seconds / 3600) + ' h ago';
  return count(Math.floor(seconds / 86400), 'day') + ' ago';
}

function tick() {
  for (const one of document.querySelectorAll('#facts time')) {
    const text = one.dataset.prefix + ago(one.dateTime);
    if (one.textContent !== text) one.textContent = text;
  }
}
setInterval(tick, 5000);

function row(name, value, type) {
  return h('div', {}, h('dt', {}, name), h('dd', {}, value), type && h('dd', { className: 'type' }, type));
}

function drawIdentity(contact) {
  const name = nameOf(contact);
  return [
    h('div', { className: 'who-card' },
      h('div', { className: 'face' + (contact.known ? '' : ' nobody'), 'aria-hidden': 'true' }, contact.known ? initials(name) : icon('visitor')),
      h('div', {}, h('h3', { title: name }, name), h('p', { title: contact.email || '' }, contact.email && contact.email !== name ? contact.email : contact.known ? '' : 'Not known by name yet')),
      h('span', { className: 'badge ' + contact.status }, contact.status === 'user' ? 'User' : 'Visitor')),
    contact.known && h('dl', { className: 'list' },
      contact.custom_id && row('User ID', contact.custom_id),
      contact.phone && row('Phone', contact.phone)),
    h('dl', { className: 'stats' },
      row('Page views', contact.page_views.toLocaleString('en')),
      h('div', { title: 'Visitor keys: one a browser, and another after each sign-out' }, h('dt', {}, 'Browsers'), h('dd', {}, contact.browsers > 99 ? '100+' : String(contact.browsers))),
      row('First seen', time(contact.first_seen))),
  ].filter(Boolean);
}

const sources = { widget: 'Widget', manual: 'By hand', import: 'Import', domain: 'E-mail domain', api: 'API' };

function drawCompanies(companies) {
  const title = h('div', { className: 'title' }, icon('company'), h('h3', {}, companies.length > 1 ? 'Companies' : 'Company'));
  if (!companies.length) return [title, h('p', { className: 'hint' }, h('a', { href: '/demo/account' }, 'Sign in'), ' as somebody: their snippet names the company, and civgate links the two.')];
  return [title, ...companies.flatMap((company) => company.hidden
    ? [h('p', { className: 'hint' }, 'One more company, which is not part of the demo.')]
    : [
      h('div', { className: 'company' },
        h('p', {}, h('b', { title: company.name }, company.name || company.id),
          h('span', { className: 'badge ' + company.source, title: 'How civgate learned of the link' }, sources[company.source] || company.source),
          companies.length > 1 && company.primary && h('span', { className: 'badge' }, 'Primary')),
        h('p', {}, 'Employee, linked ', time(company.since), ` · ${count(company.people, 'contact')}`)),
      h('dl', { className: 'list' },
        row('Company ID', company.id),
        (company.attributes || []).map((one) => row(one.name, valueOf(one))),
        company.more_attributes && row('', `and ${company.more_attributes} more`)),
    ])];
}

const days = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' });
const moments = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
const genders = { 1: 'unknown', 2: 'male', 3: 'female' };

function valueOf({ name, type, text, items }) {
  if (items) return h('ul', { className: 'chips' }, items.map((item) => h('li', {}, item)));
  if (name === 'gender') return genders[text] || text;
  if (type === 'bool') return text === 'true' ? 'Yes' : 'No';
  const at = type === 'date' || type === 'datetime' ? new Date(text) : null;
  if (at && !isNaN(at)) return h('span', { title: text }, (type === 'date' ? days : moments).format(at));
  if (type === 'number' && /^-?\d{1,15}$/.test(text)) return Number(text).toLocaleString('en');
  return text || '–';
}

function drawAttributes(attributes, more) {
  const title = h('div', { className: 'title' }, icon('list'), h('h3', {}, 'Attributes'), attributes.length > 0 && h('span', {}, String(attributes.length + more)));
  if (!attributes.length) return [title, h('p', { className: 'hint' }, 'Every key of the snippet becomes an attribute. ', h('a', { href: '/demo/account' }, 'Sign in'), ' to send some.')];
  return [title, h('dl', { className: 'list typed' }, attributes.map((one) => row(one.name, valueOf(one), one.type)), more > 0 && row('', `and ${more} more`))];
}

const sentences = { page: 'Page view', event: 'Event', product_event: 'Product event', merge: 'Merge' };

function merged(entry, contact) {
  const who = entry.key ? `The visitor ${entry.key}…` : 'A visitor';
  return `${who} became ${nameOf(contact)}` + (entry.views ? `; ${count(entry.views, 'page view')} moved` : '');
}

function drawTimeline(timeline, contact, fresh) {
  const title = h('div', { className: 'title' }, icon('clock'), h('h3', {}, 'Timeline'));
  if (!timeline.length) return [title, h('p', { className: 'hint' }, h('a', { href: '/demo/coffees' }, 'Open a page'), ' of the shop: each view shows up here.')];
  let other = false;
  return [title, h('ol', { className: 'entries' }, timeline.flatMap((entry) => {
    const details = [
      entry.kind === 'page' && entry.path && entry.path !== entry.title && h('span', {}, entry.path),
      ...(entry.details || []).map(([name, value]) => h('span', {}, name === 'name' ? value : `${name} ${value}`)),
    ].filter(Boolean);
    const isFresh = fresh.has(entryId(entry));
    const turn = entry.kind !== 'merge' && Boolean(entry.other) !== other;
    if (turn) other = !other;
    return [turn && h('li', { className: 'turn' }, other ? 'Another visit' : 'This visit'), h('li', { className: `entry ${sentences[entry.kind] ? entry.kind : ''}${isFresh ? ' fresh' : ''}` },
      icon(sentences[entry.kind] ? entry.kind : 'event'),
      h('div', {},
        h('span', { className: 'hush' }, (sentences[entry.kind] || '') + ': '),
        h('b', {}, entry.kind === 'merge' ? merged(entry, contact) : entry.title.replace(/ · Fernhill$/, '')),
        details.length > 0 && h('p', {}, details)),
      time(entry.at))];
  }))];
}

let told = 0;

/**
 * Says in one line what the last change was. Who somebody is matters more than the
 * page view that follows it, so that line stays for a while.
 */
function narrate(before, next) {
  const was = before?.contact;
  const is = next.contact;
  if (!is) return;
  const say = (name, text, matters) => {
    if (!matters && Date.now() - told < 5000) return;
    told = matters ? Date.now() : 0;
    $('now').replaceChildren(h('span', {}, icon(name), h('span', {}, text)));
    if (document.documentElement.dataset.view !== 'know') $('news').hidden = false;
  };
  if (!was) {
    if (before) say(is.known ? 'person' : 'visitor', is.known ? `This browser is ${nameOf(is)}.` : `A new visitor: ${is.key}…`);
  } else if (before.of !== next.of) {
    if (was.known && !is.known) say('out', `Signed out. This browser is a new visitor; ${nameOf(was)} stays in civgate.`, true);
    else say(is.known ? 'person' : 'visitor', is.known ? `This browser is ${nameOf(is)} now.` : `A new visitor: ${is.key}…`, true);
  } else if (is.known && !was.known) {
    // Their last page view may have arrived together with the name, so it is counted where they went.
    const merge = (next.timeline || []).find((entry) => entry.kind === 'merge' && entry.key === was.key);
    const views = merge ? merge.views || was.page_views : is.page_views;
    say('merge', `Visitor ${was.key}… became ${nameOf(is)}. ${count(views, 'page view')} came along.`, true);
  } else if (is.known && was.custom_id !== is.custom_id) {
    say('person', `This browser is ${nameOf(is)} now. ${nameOf(was)} stays in civgate.`, true);
  } else {
    const old = new Set((before.timeline || []).map(entryId));
    const entry = (next.timeline || []).find((one) => !old.has(entryId(one)) && !one.other);
    if (!entry) return;
    const named = (entry.details || []).find(([name]) => name === 'name');
    if (entry.kind === 'merge') say('merge', merged(entry, is) + '.', true);
    else say(entry.kind, `${sentences[entry.kind] || 'Event'}: ${entry.title.replace(/ · Fernhill$/, '')}${named ? ', ' + named[1] : ''}`);
  }
}

// The steps above the shop are ticked by what civgate has stored, not by clicks.

const done = memory.get('done') || {};

function step(before, next) {
  const mine = (next.timeline || []).filter((entry) => !entry.other && Date.parse(entry.at) - skew >= began - 1000);
  if (mine.filter((entry) => entry.kind === 'page').length > 1) done.browse = true;
  if (next.contact?.known) done.in = true;
  if (mine.some((entry) => entry.kind === 'product_event' && entry.title === 'add to cart')) done.cart = true;
  if (before?.contact?.known && next.contact && !next.contact.known) done.out = true;
  memory.set('done', done);
  showSteps();
}

function showSteps() {
  for (const one of document.querySelectorAll('[data-step]')) {
    const isDone = Boolean(done[one.dataset.step]);
    one.classList.toggle('done', isDone);
    const label = one.querySelector('.hush');
    if (isDone && !label) one.append(h('span', { className: 'hush' }, ', done'));
  }
}

show(false);
showPerson();
showCart();
showSteps();
shown($('civchat').textContent);
follow();
