/**
 * The ways in which the same question is asked, by language. Only what is listed here may differ between two questions that
 * get one answer (`semantic-guard.ts`); every other word has to be there in both, in its place. So a line that is missing
 * costs a hit, and a line that is here has to be harmless in every question that it fits.
 *
 * That is why whole ways of asking are listed, and hardly a single word: "a", "is", "of", "does" and "can" carry the
 * meaning of a question as often as they do not ("Are cats like dogs?", "Do cats like dogs?"), and two words that mean the
 * same in one sentence do not in the next ("fix a car", "fix a date"; "withdrawal symptoms", "withdrawal signs").
 *
 * Phrases are of several words; the longest counts.
 */
export interface Lexicon {
  /** By these the language is known; at the beginning of a sentence their capital says nothing. */
  readonly marks: string
  /** A question begins with one of these; with `yesOrNo` one that is answered so. */
  readonly asks: string
  readonly yesOrNo: string
  /** Said for nothing before a word of `asks` or a template; `giving` only before a template. */
  readonly opening: readonly string[]
  readonly giving: string
  /** Said for nothing before one of `request`. */
  readonly asking: string
  readonly request: string
  /** Said for nothing before a question or after one, set off by a comma or the end of a sentence. */
  readonly greeting: string
  readonly thanks: string
  /** "what the capital is" asks what "what is the capital" does: after an opening these may come late. */
  readonly be: string
  /** These ask for something about a whole clause, so in them `be` may even stand in the middle: "why the sky is blue". */
  readonly adverbs: string
  /** Ways to ask with a clause what the name asks with a question: "how come the sky is blue". */
  readonly clauses: Readonly<Record<string, string>>
  /** Nobody is asked how it is done, but how somebody does it: "How do I look?". */
  readonly states: string
  /** Where somebody does it to these, it matters who does it: "How can one reach me?". */
  readonly selves: string
  readonly pronouns: string
  readonly templates: readonly Template[]
  /** Phrases that mean the same wherever they stand. */
  readonly same: Readonly<Record<string, string>>
  /**
   * As they are written; in small letters they are nothing else. Not china, polish, may, apple, who; nor json and http,
   * which are also what programs call something.
   */
  readonly names: string
}

/**
 * What stands in the gap. `doing`: several words, the first none of `states` and none of `selves`; `thing`: few words, no
 * pronoun, no comma; `abbreviation`: also quoted text; `code`: also quoted text.
 */
export type Gap = 'nothing' | 'any' | 'doing' | 'names' | 'names or a word' | 'thing' | 'abbreviation' | 'code'

/** Whole questions that ask the same of what stands in the gap, which is written `…`. */
export interface Template {
  readonly name: string
  readonly gap: Gap
  readonly patterns: readonly string[]
  /** Nothing is asked, so a question mark would make it another sentence: "¿Explica la gravedad …?". */
  readonly isRequest?: boolean
}

/** One template of every beginning with every of several words for one thing. */
function asksFor(name: string, beginnings: readonly string[], things: string): Template {
  const patterns = things.split('|').flatMap((thing) => beginnings.map((beginning) => `${beginning}${thing} …`))
  return { name, gap: 'any', patterns }
}

/** Where it may also come after what it belongs to. Not benefits: those of unemployment are no unemployment benefits. */
function belongsTo(name: string, gap: Gap, endings: string): Template {
  return { name, gap, patterns: endings.split('|').flatMap((ending) => [`… ${ending}`, `what is … ${ending}`]) }
}

/** Whole questions about one thing that is done, in several words for it. */
function doingOf(name: string, beginnings: readonly string[], verbs: string): readonly Template[] {
  const all = verbs.split('|')
  return beginnings.map((beginning) => ({
    ...{ name: `${beginning} ${name}`, gap: 'nothing' },
    patterns: all.map((verb) => `${beginning} ${verb} …`),
  }))
}

/** Verbs that are the same of these things and not of others. */
function verbsOf(verbs: string, things: string): Readonly<Record<string, string>> {
  const all = verbs.split('|')
  return Object.fromEntries(
    things.split('|').map((thing) => [`${all[0]} ${thing}`, all.map((verb) => `${verb} ${thing}`).join('|')]),
  )
}

const features =
  'dark mode|night mode|airplane mode|bluetooth|notifications|push notifications|two-factor authentication|' +
  'location services|cookies|subtitles|autosave'
const whatIsThe = [
  '',
  'the ',
  'what is the ',
  'what are the ',
  'what is ',
  'what are ',
  'which is the ',
  'which are the ',
]
const whatIsA = [...whatIsThe, 'a ', 'an ', 'what is a ', 'what is an ']

const signing = ['i can not', 'why can i not', 'where do i', 'where can i', 'can i']

const english: Lexicon = {
  marks:
    'a|an|the|is|are|am|be|do|does|did|was|were|has|have|had|can|could|should|must|will|would|shall|not|and|or|but|of|in|on|' +
    'at|to|from|for|with|without|by|about|than|as|if|all|both|some|any|most|many|few|more|less|no|none|each|every|other|' +
    'another|only|i|you|he|she|it|we|they|me|my|your|his|her|its|our|their|this|that|' +
    'these|those|there|what|which|who|whom|whose|when|where|why|how|please|convert|translate|summarize|calculate|solve|' +
    'compare|write|list|name|give|show|tell|explain|describe|define|create|make|find|help|recommend|suggest|remove|delete',
  asks: 'what|which|who|whom|whose|when|where|why|how',
  yesOrNo: 'is|are|am|do|does|did|was|were|has|have|had|can|could|should|must|will|would|shall',
  opening: [
    'tell me|do you know|any idea|do you happen to know|may i ask|can i ask|i would like to know|i want to know',
    "i 'd like to know|i need to know|i want to find out|i was wondering|i am wondering|i wonder",
    'would you mind telling me|can anyone tell me|can somebody tell me|can someone tell me|help me understand',
    'i have a question|quick question|just wondering',
  ],
  giving: 'give me|show me',
  asking: 'please|can you|could you|would you|will you|can you please|could you please|would you please|kindly',
  request: 'tell me|explain|describe|give me|show me|summarize|define',
  greeting: 'hi|hello|hey|hi there|hello there|good morning|ok|okay|so|please',
  thanks: 'thanks|thank you|thanks in advance|please',
  be: 'is|are|am|was|were',
  adverbs: 'why|when|where',
  clauses: { why: 'what is the reason|what is the reason why|what is the reason that|how come' },
  states:
    'look|feel|sound|seem|appear|smell|taste|compare|rank|rate|fare|stand|die|age|know|think|react|behave|perform|do|be|' +
    'have|not|never|even|ever|usually|always|normally|dream|sleep|relate|differ|need|want|like|owe|possibly|forget|best',
  selves: 'me|us|myself|ourselves|oneself|himself|herself|itself|themselves|yourself',
  pronouns:
    'i|me|my|mine|myself|you|your|yours|yourself|he|him|his|himself|she|her|hers|herself|it|its|itself|we|us|our|ours|' +
    'they|them|their|theirs|this|that|these|those|one|there',
  templates: [
    {
      ...{ name: 'how to', gap: 'doing' },
      patterns: [
        ...['how to …', 'how do i …', 'how can i …', 'how could i …', 'how does one …'],
        ...['what are the steps to …', 'what steps do i take to …', 'in what way can i …'],
      ],
    },
    // With nothing after it: people sign in ink, and there is a log in the water.
    ...doingOf('sign in', signing, 'sign in|log in|login'),
    ...doingOf('sign out', signing, 'sign out|log out|logout'),
    {
      ...{ name: 'how to sign in', gap: 'nothing' },
      patterns: ['how to …', 'how do i …', 'how can i …'].flatMap((pattern) =>
        ['sign in', 'log in', 'login'].map((verb) => pattern.replace('…', `${verb} …`)),
      ),
    },
    { name: 'why', gap: 'any', patterns: ['for what reason …'] },
    { name: 'how many', gap: 'any', patterns: ['how many …', 'what number of …'] },
    {
      ...{ name: 'how long does it take', gap: 'any' },
      patterns: ['how long does it take …', 'how much time does it take …'],
    },
    { name: 'what is the best', gap: 'any', patterns: ['what is the best …', 'which is the best …'] },
    { name: 'do i have to', gap: 'any', patterns: ['do i have to …', 'do i need to …'] },
    { name: 'should i', gap: 'any', patterns: ['should i …', 'ought i to …'] },
    {
      // Not of other words: the meaning of life is not its definition.
      ...{ name: 'what does it mean', gap: 'abbreviation' },
      patterns: [
        ...['what does … mean', 'define …', 'meaning of …', 'the meaning of …', 'what is the meaning of …'],
        ...['definition of …', 'the definition of …', 'what is the definition of …'],
      ],
    },
    { name: 'what does it do', gap: 'code', patterns: ['what does … do', 'what … does'] },
    {
      ...{ name: 'price of', gap: 'thing' },
      patterns: [
        ...['how much does … cost', 'how much do … cost', 'what does … cost', 'what do … cost'],
        ...['price of …', 'the price of …', 'what is the price of …'],
      ],
    },
    {
      ...{ name: 'who wrote', gap: 'any' },
      patterns: ['who wrote …', 'who is the author of …', 'who is the writer of …'],
    },
    {
      ...{ name: 'difference between', gap: 'any' },
      patterns: [
        ...['difference between …', 'the difference between …', 'differences between …', 'the differences between …'],
        ...[
          'what is the difference between …',
          'what are the differences between …',
          'explain the difference between …',
        ],
        ...['explain the differences between …', 'which differences are there between …'],
      ],
    },
    asksFor('capital of', whatIsThe, 'capital of|capital city of'),
    belongsTo('capital of', 'names', "'s capital|'s capital city|capital|capital city"),
    asksFor('population of', whatIsThe, 'population of|number of inhabitants of'),
    belongsTo('population of', 'names', "'s population|population"),
    asksFor('currency of', whatIsThe, 'currency of'),
    belongsTo('currency of', 'names', "'s currency|currency"),
    asksFor('height of', whatIsThe, 'height of'),
    belongsTo('height of', 'names', "'s height|height"),
    { name: 'height of', gap: 'thing', patterns: ['how tall is …'] },
    asksFor('birthday of', whatIsThe, 'birthday of'),
    asksFor('side effects of', whatIsThe, 'side effects of|adverse effects of'),
    belongsTo('side effects of', 'names or a word', 'side effects'),
    {
      ...{ name: 'side effects of', gap: 'names or a word' },
      patterns: ['which side effects does … have', 'what side effects does … have'],
    },
    asksFor('symptoms of', whatIsThe, 'symptoms of'),
    belongsTo('symptoms of', 'names or a word', 'symptoms'),
    asksFor('advantages of', whatIsThe, 'advantages of|pros of'),
    // Not the same: those of an insurance are what it pays.
    asksFor('benefits of', whatIsThe, 'benefits of'),
    asksFor('disadvantages of', whatIsThe, 'disadvantages of|drawbacks of|downsides of'),
    asksFor('purpose of', whatIsThe, 'purpose of'),
    asksFor('history of', whatIsThe, 'history of'),
    asksFor('opening hours of', whatIsThe, 'opening hours of|opening times of'),
    asksFor('recipe for', whatIsA, 'recipe for'),
    asksFor('example of', whatIsA, 'example of'),
  ],
  same: {
    ...verbsOf('enable|turn on|switch on', features),
    ...verbsOf('disable|turn off|switch off', features),
    ...verbsOf('delete|remove', 'a file|a folder|a directory'),
    // From a list, a disk or git: not the same.
    'remove from': 'remove a file from|remove a folder from|remove a directory from',
    ...verbsOf(
      'fix|repair',
      'a flat tire|a flat tyre|a car|a bike|a bicycle|a roof|a fence|a phone|a laptop|a computer|a washing machine',
    ),
    // After I and to it is a verb: no purchase order.
    'i buy': 'i buy|i purchase',
    'to buy': 'to buy|to purchase',
    email: 'email|e-mail',
    emails: 'emails|e-mails',
  },
  names:
    'France|Germany|Italy|Spain|Portugal|Austria|Switzerland|Belgium|Netherlands|Denmark|Sweden|Norway|Finland|Poland|' +
    'Ukraine|Russia|Greece|Egypt|Nigeria|Kenya|Ethiopia|Morocco|Algeria|India|Pakistan|Bangladesh|Indonesia|Malaysia|' +
    'Thailand|Vietnam|Taiwan|Australia|Canada|Mexico|Brazil|Argentina|Colombia|Venezuela|London|Tokyo|Beijing|Moscow|' +
    'Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|German|Spanish|Italian|Linux|' +
    'API|DNA|RNA|GDP|USB|NASA|NATO|CPU|GPU|VPN',
}

const wasIstDie = ['', 'die ', 'was ist die ', 'was sind die ', 'wie heißt die ', 'welche ist die ']

const german: Lexicon = {
  marks:
    'der|die|das|den|dem|des|ein|eine|einen|einem|einer|eines|ist|sind|war|waren|hat|haben|wird|werden|wurde|wurden|kann|' +
    'können|könnte|muss|müssen|darf|soll|sollte|nicht|kein|keine|und|oder|aber|von|vom|zu|zum|zur|mit|ohne|für|auf|im|als|' +
    'wenn|ich|du|er|es|wir|mein|meine|meinen|dein|deine|was|welche|welcher|welches|wer|wem|wen|wann|wo|warum|wie|bitte|' +
    'nenne|erkläre|zeige|übersetze|schreibe|berechne|gibt|heißt|bedeutet|viel|viele',
  asks: 'was|welche|welcher|welches|wer|wem|wen|wann|wo|warum|wieso|weshalb|wie',
  yesOrNo: 'ist|sind|bin|hat|haben|kann|können|könnte|darf|muss|soll|sollte|wird|werden|war|waren|gibt',
  opening: [
    'sag mir|sage mir|sagen sie mir|kannst du mir sagen|können sie mir sagen|könntest du mir sagen|könnten sie mir sagen',
    'weißt du|wissen sie|ich möchte wissen|ich würde gerne wissen|ich will wissen',
  ],
  giving: 'nenne mir|nennen sie mir|nenn mir|nenne mir bitte|nenn mir bitte|nennen sie mir bitte',
  asking: 'bitte|kannst du|können sie|könntest du|könnten sie|kannst du bitte|können sie bitte',
  request: 'erkläre|erklär|erkläre mir|erklär mir|erklären|nenne mir|sag mir',
  greeting: 'hallo|hi|guten tag|guten morgen|ok',
  thanks: 'danke|vielen dank|bitte',
  be: 'ist|sind|war|waren',
  adverbs: '',
  clauses: {},
  states: 'sein|nicht|aussehen|wirken',
  selves: 'mich|mir|uns|sich|selbst',
  pronouns:
    'ich|mich|mir|mein|meine|du|dich|dir|dein|deine|er|ihn|ihm|sein|seine|sie|ihr|ihre|es|wir|uns|unser|unsere|das|dies|' +
    'dieser|diese|dieses|man|einer',
  templates: [
    {
      ...{ name: 'wie kann ich', gap: 'doing' },
      patterns: ['wie kann ich …', 'wie könnte ich …', 'wie kann man …', 'auf welche weise kann ich …'],
    },
    { name: 'warum', gap: 'any', patterns: ['warum …', 'wieso …', 'weshalb …', 'weswegen …', 'aus welchem grund …'] },
    { name: 'wie viele', gap: 'any', patterns: ['wie viele …', 'wieviele …'] },
    { name: 'was kostet', gap: 'thing', patterns: ['was kostet …', 'wie viel kostet …', 'wieviel kostet …'] },
    { name: 'wie viel', gap: 'any', patterns: ['wie viel …', 'wieviel …'] },
    {
      name: 'erkläre',
      gap: 'any',
      isRequest: true,
      patterns: ['erkläre …', 'erklär …', 'erkläre mir …', 'erklär mir …'],
    },
    asksFor('hauptstadt von', wasIstDie, 'hauptstadt von'),
    asksFor('einwohnerzahl von', wasIstDie, 'einwohnerzahl von'),
    asksFor('nebenwirkungen von', wasIstDie, 'nebenwirkungen von'),
    {
      ...{ name: 'nebenwirkungen von', gap: 'names or a word' },
      patterns: ['welche nebenwirkungen hat …', 'welche nebenwirkungen haben …'],
    },
    asksFor('symptome von', wasIstDie, 'symptome von'),
    asksFor('vorteile von', wasIstDie, 'vorteile von'),
    asksFor('nachteile von', wasIstDie, 'nachteile von'),
  ],
  same: {
    email: 'e-mail|email',
  },
  names: '',
}

const quEstLe = ['', 'le ', 'la ', 'les ', 'quel est le ', 'quelle est la ', 'quels sont les ', 'quelles sont les ']

const french: Lexicon = {
  marks:
    'le|la|les|l|un|une|des|du|de|d|est|sont|était|étaient|fut|a|ont|ce|cette|ces|et|ou|mais|pas|ne|n|sans|avec|pour|dans|sur|' +
    'au|aux|par|que|qui|quel|quelle|quels|quelles|quand|où|pourquoi|comment|combien|je|tu|il|elle|nous|vous|on|mon|ma|mes|' +
    "ton|ta|tes|notre|votre|qu'est-ce|explique|expliquez|donne|traduis|calcule",
  asks: "quel|quelle|quels|quelles|que|qui|quand|où|pourquoi|comment|combien|qu'est-ce",
  yesOrNo: 'est-ce|peut-on|puis-je|dois-je|faut-il|existe-t-il|y',
  opening: [
    'dis-moi|dites-moi|peux-tu me dire|pouvez-vous me dire|pourriez-vous me dire|pourrais-tu me dire|sais-tu|savez-vous',
    'je voudrais savoir|je veux savoir|j aimerais savoir',
  ],
  giving: 'donne-moi|donnez-moi',
  asking: "peux-tu|pouvez-vous|pourriez-vous|pourrais-tu|s'il vous plaît|s'il te plaît",
  request: 'expliquer|explique|expliquez|explique-moi|expliquez-moi',
  greeting: 'bonjour|salut|ok',
  thanks: "merci|merci d avance|s'il vous plaît|s'il te plaît|svp|stp",
  be: 'est|sont',
  adverbs: '',
  clauses: {},
  states: 'être|ne',
  selves: 'me|m|moi|nous|se|s',
  pronouns: 'je|j|me|m|moi|tu|te|toi|il|elle|lui|nous|vous|on|se|ça|cela|ceci|ils|elles|leur',
  templates: [
    {
      ...{ name: 'comment', gap: 'doing' },
      patterns: ['comment puis-je …', 'comment peut-on …', 'comment je peux …', 'comment faire pour …', 'comment …'],
    },
    { name: 'pourquoi', gap: 'any', patterns: ['pourquoi …', 'pour quelle raison …'] },
    {
      ...{ name: 'explique', gap: 'any', isRequest: true },
      patterns: ['explique …', 'expliquez …', 'explique-moi …', 'expliquez-moi …', 'expliquer …'],
    },
    ...['de', 'du', 'd', 'des'].flatMap((of) => [
      asksFor(`capitale ${of}`, quEstLe, `capitale ${of}`),
      asksFor(`population ${of}`, quEstLe, `population ${of}`),
      asksFor(`effets secondaires ${of}`, quEstLe, `effets secondaires ${of}|effets indésirables ${of}`),
      asksFor(`symptômes ${of}`, quEstLe, `symptômes ${of}`),
      asksFor(`avantages ${of}`, quEstLe, `avantages ${of}`),
      asksFor(`inconvénients ${of}`, quEstLe, `inconvénients ${of}`),
    ]),
  ],
  same: { ...verbsOf('supprimer|effacer', 'un fichier|un dossier'), 'e-mail': 'e-mail|email' },
  names: '',
}

const cualEsEl = ['', 'el ', 'la ', 'los ', 'las ', 'cuál es el ', 'cuál es la ', 'cuáles son los ', 'cuáles son las ']

const spanish: Lexicon = {
  marks:
    'el|la|los|las|un|una|unos|unas|es|son|está|están|era|fue|hay|de|del|y|o|pero|no|sin|con|para|por|en|a|al|que|qué|cuál|' +
    'cuáles|quién|cuándo|dónde|cómo|cuánto|cuánta|cuántos|cuántas|yo|tú|mi|mis|tu|tus|su|sus|me|se|puedo|puede|explica|' +
    'explique|traduce|calcula|escribe|dame',
  asks: 'qué|cuál|cuáles|quién|cuándo|dónde|por qué|cómo|cuánto|cuánta|cuántos|cuántas',
  yesOrNo: 'es|son|está|están|hay|puedo|puede|debo|existe|existen',
  opening: [
    'dime|dígame|puedes decirme|puede decirme|podrías decirme|podría decirme|me puedes decir|me puede decir|sabes|sabe usted',
    'quiero saber|quisiera saber|me gustaría saber|necesito saber',
  ],
  giving: 'dame|deme',
  asking: 'puedes|puede|podrías|podría|por favor',
  request: 'explicar|explicarme|explica|explique|explícame|explíqueme',
  greeting: 'hola|buenos días|ok|por favor',
  thanks: 'gracias|muchas gracias|por favor',
  be: 'es|son',
  adverbs: '',
  clauses: {},
  states: 'ser|estar|no',
  selves: 'me|mí|nos|se',
  pronouns: 'yo|mí|tú|ti|él|ella|nosotros|lo|me|te|se|nos|esto|eso|este|ese|ellos|ellas|usted',
  templates: [
    {
      ...{ name: 'cómo', gap: 'doing' },
      patterns: ['cómo puedo …', 'cómo se puede …', 'cómo hago para …', 'cómo …'],
    },
    { name: 'por qué', gap: 'any', patterns: ['por qué …', 'por qué razón …', 'por qué motivo …'] },
    {
      ...{ name: 'explica', gap: 'any', isRequest: true },
      patterns: ['explica …', 'explique …', 'explícame …', 'explíqueme …', 'explicar …'],
    },
    ...['de', 'del'].flatMap((of) => [
      asksFor(`capital ${of}`, cualEsEl, `capital ${of}`),
      asksFor(`población ${of}`, cualEsEl, `población ${of}`),
      asksFor(`síntomas ${of}`, cualEsEl, `síntomas ${of}`),
      asksFor(`efectos secundarios ${of}`, cualEsEl, `efectos secundarios ${of}|efectos adversos ${of}`),
      asksFor(`ventajas ${of}`, cualEsEl, `ventajas ${of}`),
      asksFor(`desventajas ${of}`, cualEsEl, `desventajas ${of}`),
    ]),
  ],
  same: { ...verbsOf('eliminar|borrar', 'un archivo|una carpeta'), email: 'e-mail|email' },
  names: '',
}

export const lexicons: Readonly<Record<'en' | 'de' | 'fr' | 'es', Lexicon>> = Object.freeze({
  en: english,
  de: german,
  fr: french,
  es: spanish,
})
export type Language = keyof typeof lexicons

/**
 * Numbers that are written as words. Without those that are other words too: one, second, null (of a program), neuf (new),
 * once.
 */
export const numberWords: Readonly<Record<Language, string>> = Object.freeze({
  en:
    'two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13 fourteen:14 ' +
    'fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40 fifty:50 sixty:60 ' +
    'seventy:70 eighty:80 ninety:90',
  de:
    'zwei:2 drei:3 vier:4 fünf:5 sechs:6 sieben:7 acht:8 neun:9 zehn:10 elf:11 zwölf:12 zwanzig:20 dreißig:30 ' +
    'vierzig:40 fünfzig:50 sechzig:60 siebzig:70 achtzig:80 neunzig:90',
  fr:
    'deux:2 trois:3 quatre:4 cinq:5 six:6 sept:7 huit:8 dix:10 onze:11 douze:12 vingt:20 trente:30 quarante:40 ' +
    'cinquante:50 soixante:60',
  es:
    'dos:2 tres:3 cuatro:4 cinco:5 seis:6 siete:7 ocho:8 nueve:9 diez:10 doce:12 veinte:20 treinta:30 cuarenta:40 ' +
    'cincuenta:50 sesenta:60',
})

/** Where one of these is in a question, it may be about the words themselves: nothing is the same but the very same. */
export const speechWords =
  'say|says|said|saying|spell|spells|spelled|spelling|pronounce|pronounced|translate|translation|word|words|letter|letters|' +
  'syllable|syllables|rhyme|rhymes|phrase|sentence|sentences|text|rewrite|rephrase|paraphrase|reply|respond|correct|' +
  'grammar|synonym|synonyms|antonym|conjugate|mean|means|meaning|called|spelt|abbreviation|quote|classify|sentiment|' +
  'heißt|sagt|sagen|bedeutet|wort|wörter|buchstaben|buchstabiert|schreibt|übersetze|übersetzt|satz|' +
  'dit|dire|mot|mots|signifie|traduis|traduire|phrases|écrit|lettres|' +
  'dice|decir|significa|palabra|palabras|traduce|traducir|escribe|frase|letras'

/**
 * Spellings of one unit after a number; what is not here counts as it is written. Signs are known in every language. Not
 * the same: a pound of money and one of weight, dollars and those of the United States.
 */
export const units: readonly Readonly<Partial<Record<Language | 'sign', string>>>[] = [
  {
    ...{ sign: 'km', en: 'kms|kilometer|kilometers|kilometre|kilometres', de: 'kilometer' },
    ...{ fr: 'kilomètre|kilomètres', es: 'kilómetro|kilómetros' },
  },
  { sign: 'm', en: 'meter|meters|metre|metres', de: 'meter', fr: 'mètre|mètres', es: 'metro|metros' },
  {
    ...{ sign: 'cm', en: 'centimeter|centimeters|centimetre|centimetres', de: 'zentimeter' },
    ...{ fr: 'centimètre|centimètres', es: 'centímetro|centímetros' },
  },
  { sign: 'mm', en: 'millimeter|millimeters|millimetre|millimetres', de: 'millimeter' },
  { en: 'mile|miles', de: 'meile|meilen' },
  { en: 'ft|foot|feet' },
  { en: 'inch|inches' },
  {
    ...{ sign: 'kg', en: 'kgs|kilo|kilos|kilogram|kilograms', de: 'kilo|kilogramm' },
    ...{ fr: 'kilo|kilos|kilogramme|kilogrammes', es: 'kilo|kilos|kilogramo|kilogramos' },
  },
  { sign: 'g', en: 'gram|grams', de: 'gramm', fr: 'gramme|grammes', es: 'gramo|gramos' },
  {
    ...{ sign: 'mg', en: 'milligram|milligrams', de: 'milligramm' },
    ...{ fr: 'milligramme|milligrammes', es: 'miligramo|miligramos' },
  },
  { sign: 'lb', en: 'lbs' },
  { en: 'pound|pounds' },
  { sign: 'oz', en: 'ounce|ounces' },
  { sign: 'l', en: 'liter|liters|litre|litres', de: 'liter', fr: 'litre|litres', es: 'litro|litros' },
  {
    ...{ sign: 'ml', en: 'milliliter|milliliters|millilitre|millilitres', de: 'milliliter' },
    ...{ fr: 'millilitre|millilitres', es: 'mililitro|mililitros' },
  },
  { en: 'sec|secs|second|seconds', de: 'sekunde|sekunden', fr: 'seconde|secondes', es: 'segundo|segundos' },
  { sign: 'min', en: 'mins|minute|minutes', de: 'minute|minuten', fr: 'minute|minutes', es: 'minuto|minutos' },
  { sign: 'h', en: 'hr|hrs|hour|hours', de: 'stunde|stunden', fr: 'heure|heures', es: 'hora|horas' },
  { en: 'day|days', de: 'tag|tage|tagen', fr: 'jour|jours', es: 'día|días' },
  { en: 'week|weeks', de: 'woche|wochen', fr: 'semaine|semaines', es: 'semana|semanas' },
  { en: 'month|months', de: 'monat|monate|monaten', es: 'mes|meses' },
  { en: 'year|years|yr|yrs', de: 'jahr|jahre|jahren', fr: 'an|ans|année|années', es: 'año|años' },
  { sign: '%', en: 'percent', de: 'prozent' },
  { sign: '$', en: 'dollar|dollars', es: 'dólar|dólares' },
  { sign: '€', en: 'euro|euros', de: 'euro', fr: 'euro|euros', es: 'euro|euros' },
]
