/**
 * The words with which the same question is asked in another way, by language. Only what is listed here may differ between
 * two questions that get one answer (`semantic-guard.ts`); a word that is not listed has to be there in both. So a missing
 * word costs a hit, and every line here has to be harmless.
 *
 * - `dropped` says nothing that an answer depends on, wherever it stands. `opening` only before anything else is said,
 *   `asking` only there and before a word of `request`, `greeting` only at an end and set off by a comma or a stop.
 * - `form` is what kind of thing is asked; it may stand anywhere.
 * - `attribute` is asked of somebody or something; it may stand anywhere while there is only one it can belong to.
 * - `bound` stands where it stands: the words of a line mean the same, in their place.
 *
 * Phrases are of several words and the longest counts.
 */
export interface Lexicon {
  readonly dropped: string
  readonly opening: readonly string[]
  readonly asking: string
  readonly request: string
  readonly greeting: string
  readonly form: Readonly<Record<string, string>>
  readonly attribute: Readonly<Record<string, string>>
  readonly bound: Readonly<Record<string, string>>
  /** With one of these first, yes or no is asked. */
  readonly asksYesOrNo: string
}

const english: Lexicon = {
  dropped: 'a|an|the|is|are|am|be|do|does|of|what|which|actually|there',
  opening: [
    'tell me|tell me about|give me|let me know|show me|do you know|any idea|do you happen to know|may i ask|can i ask|and',
    'i would like to know|i want to know|i need to know|i want to find out|i was wondering|i am wondering|i wonder',
    'would you mind telling me|can anyone tell me|can somebody tell me|can someone tell me|help me understand',
    'i have a question|quick question|just wondering',
  ],
  asking: 'please|can you|could you|would you|will you|can you please|could you please|would you please|kindly',
  request:
    'tell me|explain|describe|give me|give an|give a|show me|list|summarize|translate|define|help me|provide|name',
  greeting: 'hi|hello|hey|hi there|hello there|thanks|thank you|thanks in advance|please|good morning|ok|okay|so|well',
  form: {
    how:
      'how|how to|how do i|how can i|how could i|how would i|how may i|how does one|what is the way to|steps to|' +
      'what are the steps to|what steps do i take to|in what way can i|in what way do i|what do i do to',
    why: 'why|what is the reason|what is the reason why|for what reason|how come|what is the reason that',
    when: 'when|at what time',
    where: 'where|in what place|at which place|in which place|what place|whereabouts|in which location|what location',
    who: 'who|whom|which person|what person',
    'how many': 'how many|what number of|what is the number of|the number of',
    'how much': 'how much|what amount of|what is the amount of',
    'how long': 'how long|how much time',
    'how old': 'how old',
    'how far': 'how far',
    explain: 'explain|describe|give an explanation of|give a description of|provide an explanation of',
    mean: 'mean|means|meaning|definition|define',
    work: 'work|works|function|functions|operate|operates',
    past: 'was|were|did|had|been',
  },
  attribute: {
    capital: 'capital|capital city',
    population: 'population|number of inhabitants|number of people living|inhabitants',
    cost: 'cost|costs|price|prices',
    author: 'author|writer',
    height: 'height',
    weight: 'weight',
    distance: 'distance',
    age: 'age',
    speed: 'speed',
    colour: 'color|colour|colors|colours',
    symptom: 'symptom|symptoms',
    'side effect': 'side effect|side effects|adverse effects',
    benefit: 'benefit|benefits|advantage|advantages|upside|upsides|pros',
    drawback: 'drawback|drawbacks|disadvantage|disadvantages|downside|downsides|cons',
    difference: 'difference|differences|differ|distinction',
    example: 'example|examples|instance|instances',
    recipe: 'recipe|recipes',
    purpose: 'purpose',
    history: 'history',
    formula: 'formula',
    currency: 'currency',
    language: 'language',
    birthday: 'birthday|birth date|date of birth',
    'opening hours': 'opening hours|opening times|business hours',
  },
  bound: {
    p1: 'i|me|my|mine|myself',
    we: 'we|us|our|ours|ourselves',
    you: 'you|your|yours|yourself|yourselves',
    he: 'he|him|his|himself',
    she: 'she|her|hers|herself',
    they: 'they|them|their|theirs|themselves',
    it: 'it|its|itself',
    can: 'can|could|may|is it possible to|be able to',
    should: 'should|ought to',
    must: 'must|have to|has to|need to|needs to|required to',
    will: 'will|shall',
    not: 'not',
    buy: 'buy|purchase',
    begin: 'begin|start|begins|starts',
    fix: 'fix|repair|resolve',
    delete: 'delete|remove|erase',
    show: 'show|display',
    install: 'install|set up|setup',
    find: 'find|locate',
    choose: 'choose|select',
    enable: 'enable|turn on|switch on|activate',
    disable: 'disable|turn off|switch off|deactivate',
    'sign in': 'sign in|log in|login|sign into|log into',
    'sign out': 'sign out|log out|logout',
    big: 'big|large',
    fast: 'fast|quick',
    error: 'error|errors',
    problem: 'problem|problems',
    photo: 'photo|photos|picture|pictures',
    film: 'movie|movies|film|films',
    car: 'car|cars|automobile|automobiles',
    child: 'child|kid',
    children: 'children|kids',
    doctor: 'doctor|physician',
    email: 'email|e-mail|emails|e-mails',
    'at least': 'at least|no less than|no fewer than',
    'at most': 'at most|no more than',
    'more than': 'more than|greater than',
    'less than': 'less than|fewer than',
    usually: 'usually|normally|typically|generally',
    maximum: 'maximum|max',
    minimum: 'minimum|min',
    america: 'united states|united states of america|usa|u.s.|u.s.a.',
    uk: 'united kingdom|u.k.|uk',
  },
  asksYesOrNo: 'is|are|am|do|does|did|was|were|has|have|had|can|could|may|might|should|must|will|would|shall',
}

const german: Lexicon = {
  dropped:
    'der|die|das|den|dem|des|ein|eine|einen|einem|einer|eines|ist|sind|bin|von|vom|was|welche|welcher|welches|wie heißt|wie heißen',
  opening: [
    'sag mir|sage mir|sagen sie mir|kannst du mir sagen|können sie mir sagen|könntest du mir sagen|könnten sie mir sagen',
    'weißt du|wissen sie|ich möchte wissen|ich würde gerne wissen|ich will wissen|nenne mir|nennen sie mir|nenn mir',
  ],
  asking:
    'bitte|kannst du|können sie|könntest du|könnten sie|kannst du bitte|können sie bitte|kannst du mir|könntest du mir',
  request:
    'erklären|beschreiben|erläutern|nennen|erkläre|erklär|erklären sie|erkläre mir|erklär mir|erklären sie mir|beschreibe',
  greeting: 'hallo|hi|guten tag|guten morgen|danke|vielen dank|bitte|ok',
  form: {
    how: 'wie|wie kann ich|wie könnte ich|wie kann man|auf welche weise kann ich|auf welche weise',
    why: 'warum|wieso|weshalb|weswegen|aus welchem grund',
    when: 'wann|zu welchem zeitpunkt|um wie viel uhr|zu welcher zeit',
    where: 'wo|an welchem ort',
    who: 'wer|welche person',
    'how many': 'wie viele|wieviele',
    'how much': 'wie viel|wieviel',
    'how long': 'wie lange',
    explain:
      'erkläre|erklär|erklären|erklären sie|erkläre mir|erklär mir|erklären sie mir|beschreibe|beschreiben|erläutere',
    mean: 'bedeutet|bedeutung|definition',
    past: 'war|waren|wurde|wurden',
  },
  attribute: {
    capital: 'hauptstadt',
    population: 'einwohner|einwohnerzahl|bevölkerung',
    cost: 'preis|preise|kosten|kostet',
    author: 'autor|autorin|verfasser',
    symptom: 'symptome|symptom|anzeichen',
    'side effect': 'nebenwirkungen|nebenwirkung',
    benefit: 'vorteil|vorteile',
    drawback: 'nachteil|nachteile',
    difference: 'unterschied|unterschiede|unterscheiden',
    example: 'beispiel|beispiele',
    recipe: 'rezept|rezepte',
    language: 'sprache',
    currency: 'währung',
  },
  bound: {
    p1: 'ich|mich|mir|mein|meine|meinen|meinem|meiner|meines',
    we: 'wir|uns|unser|unsere|unseren|unserem|unserer',
    du: 'du|dich|dir|dein|deine|deinen|deinem|deiner',
    er: 'er|ihm|ihn|sein|seine|seinen|seinem|seiner',
    can: 'kann|könnte',
    must: 'muss|müsste|müssen',
    buy: 'kaufen|erwerben',
    begin: 'beginnen|anfangen|starten|beginnt|startet',
    fix: 'reparieren|beheben',
    delete: 'löschen|entfernen',
    'make an account': 'erstellen|anlegen',
    find: 'finden|auffinden',
    enable: 'aktivieren|einschalten|anschalten',
    disable: 'deaktivieren|ausschalten|abschalten',
    'sign in': 'anmelden|einloggen',
    'sign out': 'abmelden|ausloggen',
    problem: 'problem|probleme',
    film: 'film|filme',
    car: 'auto|autos',
    doctor: 'arzt|ärztin',
    email: 'e-mail|email|mail',
    not: 'nicht',
    none: 'kein|keine|keinen|keinem|keiner|keines',
  },
  asksYesOrNo:
    'ist|sind|bin|hat|haben|habe|kann|können|könnte|darf|dürfen|muss|müssen|soll|sollte|wird|werden|war|waren|gibt',
}

const french: Lexicon = {
  dropped:
    "le|la|les|un|une|des|du|de|d|l|est|sont|c|ce|quel|quelle|quels|quelles|qu'est-ce que|qu'est-ce que c'est que|est-ce que",
  opening: [
    'dis-moi|dites-moi|peux-tu me dire|pouvez-vous me dire|pourriez-vous me dire|pourrais-tu me dire|sais-tu|savez-vous',
    'je voudrais savoir|je veux savoir|j aimerais savoir|donne-moi|donnez-moi',
  ],
  asking:
    "peux-tu|pouvez-vous|pourriez-vous|pourrais-tu|peux-tu m|pouvez-vous m|pourriez-vous m|s'il vous plaît|s'il te plaît",
  request: 'expliquer|décrire|donner|explique|expliquez|explique-moi|expliquez-moi|décris|décrivez',
  greeting: "bonjour|salut|merci|merci d avance|s'il vous plaît|s'il te plaît|svp|stp|alors|ok",
  form: {
    how: 'comment|comment puis-je|comment je peux|de quelle manière|de quelle façon|comment faire pour|comment peut-on',
    why: 'pourquoi|pour quelle raison',
    when: 'quand|à quel moment|à quelle heure',
    where: 'où|à quel endroit',
    who: 'qui|quelle personne',
    'how many': 'combien|quel nombre de',
    explain: 'explique|expliquez|explique-moi|expliquez-moi|expliquer|décris|décrivez',
    mean: 'signifie|signification|veut dire|définition',
    past: 'était|étaient|fut|furent',
  },
  attribute: {
    capital: 'capitale',
    population: 'population|nombre d habitants|habitants',
    cost: 'prix|coût|coûte|coûtent',
    author: 'auteur|autrice',
    symptom: 'symptômes|symptôme|signes',
    'side effect': 'effets secondaires|effets indésirables',
    benefit: 'avantage|avantages',
    drawback: 'inconvénient|inconvénients',
    difference: 'différence|différences',
    example: 'exemple|exemples',
    recipe: 'recette|recettes',
    language: 'langue',
    currency: 'monnaie|devise',
  },
  bound: {
    p1: 'je|j|me|m|moi|mon|ma|mes',
    nous: 'nous|notre|nos',
    tu: 'tu|te|t|toi|ton|ta|tes',
    vous: 'vous|votre|vos',
    il: 'il|lui',
    can: 'puis|peux|peut|pouvons|peuvent',
    buy: 'acheter|acquérir',
    begin: 'commencer|débuter|commence|débute',
    fix: 'réparer|résoudre',
    delete: 'supprimer|effacer|enlever',
    find: 'trouver|localiser',
    enable: 'activer|allumer',
    disable: 'désactiver|éteindre',
    'sign in': 'connecter|se connecter',
    'sign out': 'déconnecter|se déconnecter',
    error: 'erreur|erreurs',
    problem: 'problème|problèmes',
    film: 'film|films',
    car: 'voiture|voitures',
    doctor: 'médecin|docteur',
    email: 'e-mail|email|courriel',
    not: 'pas',
    ne: 'ne|n',
  },
  asksYesOrNo: 'peut-on|puis-je|dois-je|faut-il|a-t-on|existe-t-il|y a-t-il',
}

const spanish: Lexicon = {
  dropped: 'el|la|los|las|un|una|unos|unas|es|son|está|están|de|del|qué|cuál|cuáles',
  opening: [
    'dime|dígame|puedes decirme|puede decirme|podrías decirme|podría decirme|me puedes decir|me puede decir|sabes|sabe usted',
    'quiero saber|quisiera saber|me gustaría saber|necesito saber|dame|deme',
  ],
  asking: 'puedes|puede|podrías|podría|por favor|puedes por favor',
  request: 'explicar|explicarme|describir|explica|explique|explícame|explíqueme|describe|describa',
  greeting: 'hola|buenos días|gracias|muchas gracias|por favor|ok',
  form: {
    how: 'cómo|cómo puedo|cómo podría|de qué manera|de qué forma|cómo se puede|cómo hago para|qué hago para',
    why: 'por qué|por qué razón|por qué motivo',
    when: 'cuándo|en qué momento|a qué hora',
    where: 'dónde|en qué lugar',
    who: 'quién|qué persona',
    'how many': 'cuántos|cuántas|qué número de|qué cantidad de',
    'how much': 'cuánto|cuánta',
    explain: 'explica|explique|explícame|explíqueme|explicar|describe|describa',
    mean: 'significa|significado|quiere decir|definición',
    past: 'era|eran|fue|fueron',
  },
  attribute: {
    capital: 'capital',
    population: 'población|número de habitantes|habitantes',
    cost: 'precio|precios|cuesta|cuestan|costo|coste',
    author: 'autor|autora|escritor|escritora',
    symptom: 'síntomas|síntoma|señales',
    'side effect': 'efectos secundarios|efectos adversos',
    benefit: 'ventaja|ventajas|beneficio|beneficios',
    drawback: 'desventaja|desventajas|inconveniente|inconvenientes',
    difference: 'diferencia|diferencias',
    example: 'ejemplo|ejemplos',
    recipe: 'receta|recetas',
    language: 'idioma|lengua',
    currency: 'moneda',
  },
  bound: {
    p1: 'yo|me|mi|mis|mí',
    nos: 'nosotros|nos|nuestro|nuestra|nuestros|nuestras',
    tu: 'tú|te|tu|tus|ti',
    can: 'puedo|puede|pueden',
    buy: 'comprar|adquirir',
    begin: 'empezar|comenzar|empieza|comienza',
    fix: 'reparar|arreglar',
    solve: 'resolver|solucionar',
    delete: 'eliminar|borrar',
    find: 'encontrar|localizar',
    enable: 'activar|encender|habilitar',
    disable: 'desactivar|apagar|deshabilitar',
    error: 'error|errores',
    problem: 'problema|problemas',
    film: 'película|películas',
    car: 'coche|coches|auto|autos|carro|carros',
    doctor: 'médico|doctor',
    email: 'correo electrónico|e-mail|email|correo',
  },
  asksYesOrNo: 'se puede|puedo|debo|hay que|existe|existen|hay',
}

export const lexicons: Readonly<Record<'en' | 'de' | 'fr' | 'es', Lexicon>> = Object.freeze({
  en: english,
  de: german,
  fr: french,
  es: spanish,
})
export type Language = keyof typeof lexicons

/** Numbers that are written as words, in all four languages; a word that is one in another language is none here. */
export const numberWords: Readonly<Record<Language, string>> = Object.freeze({
  en:
    'zero:0 one:1 two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13 ' +
    'fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40 fifty:50 ' +
    'sixty:60 seventy:70 eighty:80 ninety:90 first:1st second:2nd third:3rd fourth:4th fifth:5th sixth:6th tenth:10th',
  de:
    'null:0 zwei:2 drei:3 vier:4 fünf:5 sechs:6 sieben:7 acht:8 neun:9 zehn:10 elf:11 zwölf:12 zwanzig:20 dreißig:30 ' +
    'vierzig:40 fünfzig:50 sechzig:60 siebzig:70 achtzig:80 neunzig:90',
  fr:
    'zéro:0 deux:2 trois:3 quatre:4 cinq:5 six:6 sept:7 huit:8 neuf:9 dix:10 onze:11 douze:12 vingt:20 trente:30 ' +
    'quarante:40 cinquante:50 soixante:60',
  es:
    'cero:0 dos:2 tres:3 cuatro:4 cinco:5 seis:6 siete:7 ocho:8 nueve:9 diez:10 once:11 doce:12 veinte:20 treinta:30 ' +
    'cuarenta:40 cincuenta:50 sesenta:60',
})

/** Spellings of one unit after a number; what is not here counts as it is written. */
export const units: readonly string[] = [
  'km|kms|kilometer|kilometers|kilometre|kilometres|kilomètre|kilomètres|kilómetro|kilómetros',
  'm|meter|meters|metre|metres|mètre|mètres|metro|metros',
  'cm|centimeter|centimeters|centimetre|centimetres|zentimeter|centimètre|centimètres|centímetro|centímetros',
  'mm|millimeter|millimeters|millimetre|millimetres',
  'mi|mile|miles|meile|meilen',
  'ft|foot|feet',
  'in|inch|inches',
  'kg|kgs|kilo|kilos|kilogram|kilograms|kilogramm|kilogramme|kilogrammes|kilogramo|kilogramos',
  'g|gram|grams|gramm|gramme|grammes|gramo|gramos',
  'mg|milligram|milligrams|milligramm|milligramme|milligrammes|miligramo|miligramos',
  'lb|lbs|pound|pounds',
  'oz|ounce|ounces',
  'l|liter|liters|litre|litres|litro|litros',
  'ml|milliliter|milliliters|millilitre|millilitres|mililitro|mililitros',
  's|sec|secs|second|seconds|sekunde|sekunden|seconde|secondes|segundo|segundos',
  'min|mins|minute|minutes|minuten|minuto|minutos',
  'h|hr|hrs|hour|hours|stunde|stunden|heure|heures|hora|horas',
  'day|days|tag|tage|tagen|jour|jours|día|días',
  'week|weeks|woche|wochen|semaine|semaines|semana|semanas',
  'month|months|monat|monate|monaten|mes|meses',
  'year|years|yr|yrs|jahr|jahre|jahren|an|ans|année|années|año|años',
  '%|percent|prozent|pourcent|por ciento',
  '$|usd|dollar|dollars|dólar|dólares',
  '€|eur|euro|euros',
  '£|gbp',
  '°c|celsius',
  '°f|fahrenheit',
]
