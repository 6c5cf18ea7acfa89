// What the test double has to show: conversations in both languages, voices in every state, a server with something to do.
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const TALKS = [
  {
    title: 'A weekend in Tainan',
    voice: 'slt',
    turns: [
      ['What should I not miss if I only have two days in Tainan?', 'Start at Anping early, before the buses come. Then walk the old streets around Shennong, and leave the evening for a night market. Which day are you there?'],
      ['Saturday and Sunday. Will it rain?', 'In November it rarely rains there. Take a light jacket for the evenings and you are set.'],
      ['Great, thank you.', 'Enjoy it. Try the danzai noodles for me.'],
    ],
  },
  {
    title: '週末的天氣與登山計畫',
    voice: '怡君',
    turns: [
      ['這個週末去合歡山會不會下雨？', '週六上午多雲，午後可能有短暫陣雨；週日天氣比較穩定。建議您週日一早出發，下午兩點以前下山。'],
      ['那要帶什麼衣服？', '清晨大約五度，請帶保暖外套、手套和毛帽，再加一件薄雨衣就夠了。'],
    ],
  },
  {
    title: 'Why bread rises',
    voice: 'slt',
    turns: [
      ['Explain why bread rises, as if I were ten.', 'Yeast is tiny and alive. It eats the sugar in the dough and breathes out little bubbles. The dough is stretchy, so it holds the bubbles, and the bread grows.'],
    ],
  },
  { title: null, voice: 'kal', turns: [['Set a timer for the pasta, please.', 'I can’t set timers yet, but nine minutes is right for that pasta.']] },
  { title: '用英文寫一封請假信', voice: '怡君', turns: [['請幫我用英文寫一封請假信，只要三句話。', 'Of course. “Dear Ms. Lin, I am not feeling well today. May I take the day off? I will be reachable by email.”']] },
];

const TOPICS = ['A name for the cat', '晚餐吃什麼', 'Fixing a squeaky door', '孩子的數學作業', 'Stars tonight', '學一句日文', 'A poem for Mei', '明天的會議', 'How tides work', '租屋合約怎麼看'];

const stages = (first) => ({
  turn_commit_ms: 204,
  text_final_ms: 171,
  first_token_ms: Math.round(first * 0.58),
  first_sentence_ms: Math.round(first * 0.74),
  first_audio_ms: Math.round(first * 0.93),
  first_packet_ms: first,
});

/** `count` conversations, the newest first, at fixed distances before `now`. */
export function conversations(count, now) {
  return Array.from({ length: count }, (_, i) => {
    const talk = TALKS[i] ?? { title: TOPICS[i % TOPICS.length], voice: 'slt', turns: [[`Tell me about this: ${TOPICS[i % TOPICS.length]}.`, 'Gladly. Where shall we begin?']] };
    const id = `conv_${String(count - i).padStart(5, '0')}`;
    const created = now - (i < 3 ? (i * 47 + 12) * MINUTE : DAY + (i - 3) * 5 * 60 * MINUTE);
    let starts = 0;
    const turns = talk.turns.map(([said, answered], index) => {
      const userMs = 900 + said.length * 55;
      const replyMs = 700 + answered.length * 58;
      const hq = i === 0 ? ['ready', 'rendering', 'failed'][index] : i === 1 ? ['ready', 'pending'][index] : i % 4 === 2 ? 'ready' : 'none';
      const path = `/api/conversations/${id}/turns/${id}_t${index}/audio`;
      const turn = {
        id: `${id}_t${index}`,
        index,
        created_at: new Date(created + starts).toISOString(),
        door: 'webrtc',
        user: { item: `item_u_${i}_${index}`, text: said, audio: `${path}/user`, duration_ms: userMs, starts_ms: starts },
        assistant: {
          item: `item_a_${i}_${index}`,
          text: answered,
          audio: `${path}/assistant?quality=fast`,
          duration_ms: replyMs,
          starts_ms: starts + userMs + 400,
          interrupted: i === 0 && index === 2,
          hq: {
            state: hq,
            ...(hq === 'ready' ? { voice: 'slt 32 kHz', audio: `${path}/assistant?quality=hq`, duration_ms: replyMs + 120 } : {}),
            ...(hq === 'failed' ? { reason: 'the voice slt-hts could not be loaded' } : {}),
          },
        },
        timings: stages(372 + ((i * 37 + index * 61) % 210)),
        voice: talk.voice,
        model: 'smollm2-360m',
      };
      starts += userMs + 400 + replyMs + 1_200;
      return turn;
    });
    return { id, title: talk.title, created_at: new Date(created).toISOString(), updated_at: new Date(created + starts).toISOString(), duration_ms: starts, turns };
  });
}

const preset = (id, name, language, engine, extra = {}) => ({
  id,
  name,
  duration: null,
  kind: 'preset',
  engine,
  language,
  voice: id,
  state: 'ready',
  default: false,
  created_at: null,
  transcript: null,
  bandwidth_hz: 16_000,
  ...extra,
});

export function voices(now) {
  const profile = (id, name, state, extra = {}) => ({
    id,
    name,
    duration: 11.4,
    kind: 'profile',
    engine: 'pocket',
    language: 'en',
    voice: `profile:${id}`,
    state,
    default: false,
    created_at: new Date(now - 3 * DAY).toISOString(),
    transcript: 'The evening train left a little late.',
    bandwidth_hz: 24_000,
    ...extra,
  });
  return [
    profile('vp_mei', 'Mei', 'ready'),
    profile('vp_yijun', '怡君', 'ready', { language: 'zh-TW' }),
    profile('vp_dad', 'Dad, reading', 'computing'),
    profile('vp_old', 'Phone recording', 'failed', { reason: 'the sample could not be read any more; record it again' }),
    preset('slt', 'slt', 'en', 'festival', { default: true }),
    preset('kal', 'kal', 'en', 'flite'),
    preset('alba', 'Alba', 'en', 'pocket', { bandwidth_hz: 24_000 }),
  ];
}

export const READING = {
  en: 'The evening train left a little late, but nobody seemed to mind. Outside, the hills turned from green to gold, and a boy by the window counted the bridges until he fell asleep.',
  'zh-TW': '傍晚的火車晚了一點才開，不過好像沒有人在意。窗外的山從綠色慢慢變成金色，靠窗的小男孩數著一座又一座的橋，數著數著就睡著了。',
};

export const health = () => ({
  status: 'ok',
  models: {
    vad: { name: 'silero-v6', state: 'ready' },
    turn: { name: 'smart-turn-v3', state: 'ready' },
    stt: { name: 'moonshine-base', state: 'ready' },
    llm: { name: 'smollm2-360m-instruct', state: 'ready' },
    tts: { name: 'flite slt', state: 'ready' },
  },
  calls: { active: 2, limit: 5 },
});

export const status = () => ({
  version: '0.1.0',
  uptime_s: 273_840,
  engines: [
    { role: 'vad', name: 'silero-v6', state: 'ready' },
    { role: 'turn', name: 'smart-turn-v3', state: 'ready' },
    { role: 'stt', name: 'moonshine-base', state: 'ready', queue: { waiting: 1, busy: 2 } },
    { role: 'llm', name: 'smollm2-360m-instruct', state: 'ready', queue: { waiting: 0, busy: 1 } },
    { role: 'tts', name: 'flite slt', state: 'ready', queue: { waiting: 0, busy: 0 } },
    { role: 'hq', name: 'festival slt-hts, 32 kHz', state: 'loading', percent: 64 },
  ],
  calls: { active: 2, limit: 5 },
  memory: { rss_bytes: 1_684_000_000 },
  hq: { pending: 3, rendering: 1, failed: 1 },
  history: { conversations: 1_000, turns: 8_412, bytes: 734_000_000 },
});
