// Small applications: mail, posts, a menu, a contact book, texts to scroll, a calendar.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, shown, instruction, bold, match, click, fill, first, each, place, point, withText, bring} = words;

  // What the mail is about: who wrote it, what to do, and the text or the name that goes with it.
  const mail = () => {
    const fields = core.currentFields;
    if (fields) {
      const action = fields.task || 'forward';
      return {by: fields.by, action, with: fields.to || fields.message};
    }
    const [by, more] = bold();
    const said = instruction();
    const action = /reply/.test(said) ? 'reply' : /forward/.test(said) ? 'forward' : /trash/.test(said) ? 'delete' : 'star';
    return {by, action, with: more};
  };
  const inMail = () => {
    const asked = mail();
    const acting = one('#reply') || one('#forward');
    if (acting && acting.id === 'reply') return first(() => fill('#reply-text', asked.with), () => click('#send-reply'));
    if (acting) return first(() => fill('.forward-sender', asked.with), () => click('#send-forward'));
    const buttons = {reply: '.email-reply', forward: '.email-forward', delete: '.trash', star: '.star', important: '.star'};
    if (one('#email')) return click(`#email ${buttons[asked.action]}`);
    return click(all('#main .email-thread').find((item) => text(item.querySelector('.email-sender')) === asked.by));
  };
  tell('email-inbox email-inbox-delete email-inbox-forward email-inbox-forward-nl email-inbox-forward-nl-turk '
    + 'email-inbox-important email-inbox-nl-turk email-inbox-noscroll email-inbox-reply email-inbox-star-reply', inMail);

  const post = (user) => all('#area .media').filter((item) => text(item.querySelector('.username')) === user);
  tell('social-media', () => {
    const [user, label] = bold();
    const kind = Object.keys(ACTIONS).find((name) => ACTIONS[name] === label);
    const [found] = post(user);
    const button = found.querySelector(`.${kind}`);
    return button.tagName === 'LI' && !shown(button) ? click(found.querySelector('.more')) : click(button);
  });
  const liked = (count) => {
    const label = match(/Click the "(\w+)" button/)[0].toLowerCase();
    const user = bold().pop();
    const buttons = post(user).map((item) => item.querySelector(`.${label}`)).slice(0, count);
    return first(
      () => each(buttons, (button) => (button.classList.contains('active') ? null : click(button))),
      () => click('#submitRow button'),
    );
  };
  tell('social-media-all', () => liked(Infinity));
  tell('social-media-some', () => liked(Number(match(/on (\d+) posts?/)[0])));

  tell('order-food', () => {
    const [listed] = match(/each item: (.*)/);
    const amount = (item) => Number(item.getAttribute('data-quantity'));
    const add = (item) => click(item.querySelector('.add'));
    const items = all('.food-item');
    if (listed) {
      const wanted = items.filter((item) => listed.split(', ').includes(item.getAttribute('data-item').trim()));
      return first(() => each(wanted, (item) => (amount(item) ? null : add(item))), () => click('#submit-order button'));
    }
    const [number, type] = match(/Order (\d+) items that are (.*)/);
    const ordered = items.reduce((sum, item) => sum + amount(item), 0);
    if (ordered >= Number(number)) return click('#submit-order button');
    return add(items.find((item) => item.querySelector(`img[alt="${type}"]`)));
  });
  tell('phone-book', () => {
    const [name, property] = match(/Find (.*) in the contact book and click on their (\w+)/);
    return text(one('#contact .name')) === name ? click(`#contact .${property}`) : click(withText('#pagination a', '>'));
  });

  const wheel = (area, down) => ({do: 'scroll', at: {...place(area)}, down});
  tell('scroll-text', () => {
    const last = one('#text-area').textContent.trim().split(/\s/).pop().replace('.', '');
    return first(() => fill('#answer-input', last), () => click('#subbtn'));
  });
  tell('scroll-text-2', () => {
    const area = one('#text-area');
    const down = /to the bottom/.test(instruction()) ? area.scrollHeight - area.clientHeight - area.scrollTop : -area.scrollTop;
    return Math.abs(down) < 5 ? click('#subbtn') : wheel(area, Math.round(down) + Math.sign(down) * 20);
  });
  tell('sign-agreement', () => {
    const [name, button] = match(/enter the name "(.*)" then press "(\w+)"/);
    if (!name) return click('#cancel');
    const area = one('#text-area');
    if (one('#agree').disabled) return wheel(area, area.scrollHeight);
    return first(() => fill('#name', name), () => click(button === 'Agree' ? '#agree' : '#cancel'));
  });

  tell('daily-calendar', () => {
    const [amount, unit, name, from] = match(/Create a ([\d.]+) (\w+) event named "(\w+)", between (\w+)/);
    if (one('#create-event')) return first(() => fill('#event-name', name), () => click('#create-event .create'));
    const halves = /min/.test(unit) ? amount / 30 : amount * 2;
    // The event is drawn elsewhere than under the pointer, and has to be let go on itself.
    const made = one('#newEvent');
    if (made && Number(made.getAttribute('data-duration')) === halves) {
      const at = place(made);
      return at === null ? bring(made) : words.up(at);
    }
    const begin = {'8AM': 16, '12PM': 24, '4PM': 32}[from];
    for (let start = begin; start + halves <= begin + 8; start += 1) {
      const slots = [...Array(halves).keys()].map((offset) => one(`#hh-${start + offset}`));
      const [upper, lower] = [slots[0], slots[slots.length - 1]];
      const taken = all('.event:not(#newEvent)').map((event) => event.getBoundingClientRect());
      const free = ({top, bottom}) => !taken.some((event) => event.top < bottom - 1 && event.bottom > top + 1);
      if (!slots.every((slot) => free(slot.getBoundingClientRect()))) continue;
      const places = [place(upper), place(lower)];
      if (places.includes(null)) return bring(places[0] === null ? upper : lower);
      return isDragging ? {do: 'move', at: point(places[1].x + 2, places[1].y + 1)} : words.down(places[0]);
    }
    return null;
  });
})();
