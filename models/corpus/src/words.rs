//! The vocabulary of the base model's corpus: topics, and what is said of the things in them.
//!
//! # Place in the flow
//!
//! [`super`] reads these tables and makes sentences of them. Nothing else uses them.
//!
//! # Invariants
//!
//! - Every phrase of a topic fits every thing of that topic, so that any combination reads as
//!   English.
//! - Things are singular, countable, take a regular plural, and start with the sound of their first
//!   letter.
//! - The tables are part of the corpus: changing one word changes the corpus hash, and so the base
//!   model.
//!
//! # Not here
//!
//! Sentence shapes ([`super`]); facts of the sample datanets, which the base model must not know
//! beforehand.

/// One topic. Lists are separated by `;`, so that a topic stays readable as a block of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Topic {
    /// Name of the topic, also the tag of its records.
    pub(super) name: &'static str,
    /// Singular nouns without article.
    pub(super) things: &'static str,
    /// Adjectives that follow "is".
    pub(super) traits: &'static str,
    /// Verb phrases in the third person singular.
    pub(super) acts: &'static str,
    /// Where such a thing is found: phrases that follow "is kept" or stand at the start of a
    /// sentence.
    pub(super) places: &'static str,
    /// Clauses that follow "because".
    pub(super) reasons: &'static str,
    /// People who deal with it, as nouns.
    pub(super) roles: &'static str,
}

#[rustfmt::skip]
pub(super) const TOPICS: &[Topic] = &[
    Topic { name: "bicycles", things: "chain;saddle;pedal;wheel;brake;bell;handlebar;basket;tyre;pump",
        traits: "light;worn;easy to clean;made of steel;cheap to replace;rusty after rain", acts: "needs a drop of oil in spring;wears out after many rides;must fit the frame;rattles when it is loose;stays quiet when it is clean",
        places: "in the workshop;on a hook behind the door;under the stairs;beside the work stand", reasons: "rain brings rust;a loose part can cause a fall;a long ride tests every part;dust grinds the metal away", roles: "mechanic;courier;rider" },
    Topic { name: "baking", things: "bread roll;cake;pie;tart;biscuit;pancake;bun;waffle;pretzel;cracker",
        traits: "golden;soft inside;crisp at the edge;sweet;still warm;dusted with flour", acts: "rises in a warm room;turns brown in the oven;tastes best on the first day;cools on a wire rack;cracks when it bakes too fast",
        places: "on the kitchen table;in a tin with a lid;on the top shelf of the oven;under a clean cloth", reasons: "heat makes the air inside grow;the crust keeps the water in;sugar turns brown when it is hot;the dough needs time to rest", roles: "baker;cook;miller" },
    Topic { name: "night sky", things: "star;planet;comet;moon;meteor;telescope;star map;observatory;eclipse;galaxy",
        traits: "faint;bright on a clear night;far away;easy to find;hidden by clouds;slow", acts: "rises in the east;is best seen far from the town;looks larger near the horizon;fades when the morning comes;rewards a patient eye",
        places: "above the hill;over the dark harbour;in the southern sky;on the roof of the school", reasons: "the Earth turns once a day;street lamps drown weak light;the air is calm after midnight;cold nights are often clear", roles: "astronomer;night watcher;teacher" },
    Topic { name: "rivers", things: "bridge;ferry;dam;canal;waterfall;barge;river bank;ford;spring;gauge",
        traits: "old;swift in spring;narrow;covered with moss;quiet in winter;made of stone", acts: "slows the water down;floods when the snow melts;carries sand to the sea;marks the edge of the town;is measured every morning",
        places: "near the mill;below the weir;at the bend of the river;between two hills", reasons: "melting snow fills the river;water always runs downhill;stones grow round in the stream;boats need deep water", roles: "ferryman;engineer;angler" },
    Topic { name: "weather", things: "cloud;storm;rainbow;breeze;thunderstorm;shower;cold front;snowflake;fog bank;heat wave",
        traits: "sudden;grey;gentle;rare in summer;seen from far away;gone by noon", acts: "comes from the west;brings a change of wind;cools the air;keeps the farmers at home;passes within an hour",
        places: "over the lake;above the valley;along the coast;behind the mountains", reasons: "warm air rises;cold air is heavy;the sea warms slowly;wet air cools as it climbs", roles: "farmer;pilot;weather watcher" },
    Topic { name: "gardens", things: "rose;tomato plant;hedge;apple tree;spade;flower bed;seedling;greenhouse;compost heap;watering can",
        traits: "green;thirsty;well kept;full of bees;slow to wake in spring;sheltered from the wind", acts: "wants sun in the morning;needs water in dry weeks;is cut back in autumn;attracts butterflies;does badly in deep shade",
        places: "by the south wall;at the end of the path;behind the shed;next to the pond", reasons: "roots need air;plants drink more in the heat;worms make the soil loose;frost kills young leaves", roles: "gardener;neighbour;beekeeper" },
    Topic { name: "birds", things: "owl;swallow;heron;robin;crow;duck;falcon;sparrow;stork;kingfisher",
        traits: "shy;quick;clever;small for its kind;silent in flight;easy to hear", acts: "builds its nest in spring;hunts at dusk;feeds its young with insects;sings before sunrise;flies south when it gets cold",
        places: "in the old oak;near the reeds;on the church tower;along the shore", reasons: "insects are gone in winter;a high nest is safe from cats;feathers keep out the rain;food is easy to find near water", roles: "ranger;bird watcher;forester" },
    Topic { name: "fish", things: "trout;eel;salmon;carp;pike;herring;perch;cod;tuna;minnow",
        traits: "silver;strong;hard to catch;cold to the touch;striped;hungry in the evening", acts: "swims against the stream;hides under stones;lays its eggs in gravel;breathes through its gills;follows the warm current",
        places: "in the deep pool;under the bridge;near the mouth of the river;among the weeds", reasons: "cold water holds more air;the current carries food;bright light makes fish careful;shallow water warms quickly", roles: "angler;fishmonger;river keeper" },
    Topic { name: "farm animals", things: "cow;goat;horse;hen;pig;donkey;lamb;turkey;rabbit;bull",
        traits: "calm;stubborn;fond of company;woken by the rooster;brown and white;used to people", acts: "eats hay in winter;drinks from the trough;sleeps in the barn;follows the farmer to the gate;dislikes loud noise",
        places: "in the barn;on the far meadow;behind the wooden fence;beside the hay cart", reasons: "fresh grass is rare in winter;animals like a steady day;a dry bed keeps them healthy;the herd feels safe together", roles: "farmer;milkmaid;vet" },
    Topic { name: "forest", things: "oak;pine;mushroom;fern;hedgehog;squirrel;badger;beetle;birch;hollow log",
        traits: "old;tall;hidden from the path;damp in the morning;covered with lichen;important to the wood", acts: "gives shelter to others;changes with the seasons;grows best in rich soil;is easily missed in the shade;leaves its mark on the ground",
        places: "in the heart of the wood;near the stream;on the north slope;by the ranger's hut", reasons: "fallen leaves feed the soil;shade keeps the ground wet;dead wood is full of life;every tree needs light", roles: "forester;ranger;mushroom picker" },
    Topic { name: "sea", things: "wave;lighthouse;shell;crab;whale;harbour;reef;tide pool;sea wall;dune",
        traits: "salty;ancient;louder at night;shaped by the wind;known to every sailor;seen from the cliff", acts: "changes with the tide;stands up to the storm;draws visitors in summer;is drawn on every chart;looks different at low water",
        places: "at the end of the pier;off the rocky point;along the beach;in the quiet bay", reasons: "the Moon pulls on the water;salt water is heavy;storms move the sand;the wind drives the waves", roles: "sailor;lighthouse keeper;fisher" },
    Topic { name: "ships", things: "sail;anchor;mast;rudder;compass;lifeboat;rope;hull;deck;cabin",
        traits: "sturdy;freshly painted;heavy;checked before each voyage;wet with spray;older than the captain", acts: "must hold in rough weather;is inspected in the dock;creaks in the swell;keeps the crew safe;gets a new coat of paint each year",
        places: "at the stern;below deck;in the dry dock;near the wheel", reasons: "the sea forgives nothing;salt eats iron;a calm day is the time for repairs;the crew depends on it", roles: "captain;sailor;shipwright" },
    Topic { name: "railways", things: "locomotive;signal;station;carriage;ticket;tunnel;timetable;platform;switch;level crossing",
        traits: "punctual;painted red;noisy;used by hundreds a day;lit at night;owned by the city", acts: "is tested every week;serves the morning trains;needs a clear line;closes after the last train;helps travellers on their way",
        places: "at the junction;next to the main hall;beside track two;on the line to the coast", reasons: "trains need a long way to stop;two trains must never meet;many people travel early;steel grows longer in the heat", roles: "conductor;driver;signal keeper" },
    Topic { name: "clocks", things: "clock;watch;stopwatch;pendulum;sundial;alarm clock;spring;dial;gear;church bell",
        traits: "exact;a minute slow;delicate;made of brass;wound by hand;admired by visitors", acts: "is set at noon;must be cleaned every few years;tells people when to meet;runs more slowly in the cold;has worked for a hundred years",
        places: "in the tower;on the mantelpiece;in the maker's window;above the door", reasons: "oil grows thick in the cold;small errors add up;a swing always takes the same time;dust stops fine wheels", roles: "clockmaker;collector;sexton" },
    Topic { name: "music", things: "violin;drum;flute;piano;trumpet;song;choir;guitar;bell;concert",
        traits: "loud;gentle;out of tune;made for dancing;loved by children;difficult for beginners", acts: "fills the whole room;sounds warmer in a wooden hall;needs practice every day;is heard at every wedding;makes tired people smile",
        places: "in the concert hall;on the small stage;at the music school;near the open window", reasons: "wood carries sound well;damp air changes the pitch;fast air makes a high note;people remember a melody", roles: "musician;conductor;pupil" },
    Topic { name: "painting", things: "portrait;brush;canvas;frame;sketch;easel;palette;mural;landscape;pencil",
        traits: "colourful;unfinished;careful;larger than a door;dry by evening;kept out of the sun", acts: "shows the light of the morning;takes weeks to finish;was given to the museum;hangs where all can see it;needs a steady hand",
        places: "in the studio;on the white wall;at the gallery;under the north window", reasons: "sunlight bleaches colours;blue and yellow make green;oil paint dries slowly;the eye looks for contrast", roles: "painter;curator;student" },
    Topic { name: "carpentry", things: "table;hammer;chair;saw;chisel;stool;drawer;workbench;plank;nail",
        traits: "solid;sharp;sanded smooth;made of oak;straight;older than it looks", acts: "must be measured twice;lasts a lifetime;keeps its shape in dry air;was made without glue;feels good in the hand",
        places: "in the joiner's shop;against the wall;on the bench;under the window", reasons: "wood swells when it is wet;a dull blade slips;the grain gives the strength;a good joint needs no screw", roles: "joiner;apprentice;builder" },
    Topic { name: "houses", things: "roof;door;window;chimney;cellar;staircase;wall;floor;attic;balcony",
        traits: "warm;draughty;newly built;painted white;low;in need of repair", acts: "keeps the rain out;lets the light in;was built before the war;is swept every week;holds the heat in winter",
        places: "at the back of the house;on the street side;above the kitchen;facing south", reasons: "warm air escapes upwards;stone stays cool in summer;a dry wall lasts longer;old houses have thick walls", roles: "builder;owner;roofer" },
    Topic { name: "cooking", things: "soup;stew;pan;grater;recipe;salad;sauce;spoon;pot;omelette",
        traits: "hot;simple;well seasoned;ready in minutes;best when fresh;enough for four", acts: "needs a pinch of salt;should not be hurried;smells of herbs;goes well with bread;is part of every dinner",
        places: "on the stove;in the kitchen;beside the cutting board;on the big table", reasons: "low heat keeps the taste;salt draws out water;a sharp blade is safer;fat carries flavour", roles: "cook;guest;kitchen hand" },
    Topic { name: "fruit", things: "apple;pear;plum;cherry;orange;lemon;melon;peach;grape;banana",
        traits: "ripe;sour;juicy;sweet in late summer;firm;bruised on one side", acts: "grows sweeter in the sun;keeps for weeks in the cellar;is picked by hand;goes into jam;falls when it is ripe",
        places: "in the orchard;in a wooden box;at the market;on the window sill", reasons: "sun turns acid into sugar;a bruise lets mould in;cool air slows ripening;bees visited the blossom", roles: "grower;seller;jam maker" },
    Topic { name: "school", things: "lesson;blackboard;notebook;exam;library;classroom;pencil case;map;playground;question",
        traits: "short;full of surprises;clean;useful for life;shared by two classes;quiet in the afternoon", acts: "helps pupils to think;begins after the bell;is prepared the evening before;makes the class curious;is easier with a friend",
        places: "on the first floor;next to the gym;in the new building;near the teacher's desk", reasons: "practice makes memory strong;a rested mind learns faster;good questions lead to answers;writing helps to remember", roles: "teacher;pupil;librarian" },
    Topic { name: "numbers", things: "triangle;circle;square;sum;fraction;ruler;cube;pattern;puzzle;angle",
        traits: "exact;easy to draw;surprising;useful in building;older than writing;the same everywhere", acts: "can be checked by anyone;follows a simple rule;appears in nature;helps to measure land;has more than one proof",
        places: "on the first page;in the exercise book;at the top of the board;in every workshop", reasons: "a rule has no exceptions;small steps lead far;a drawing shows the idea;two sides can be compared", roles: "mathematician;surveyor;pupil" },
    Topic { name: "computers", things: "program;keyboard;screen;file;server;cable;password;robot;sensor;printer",
        traits: "fast;silent;out of date;protected;smaller than before;connected to the network", acts: "does exactly what it is told;stops when the power fails;is checked every night;saves hours of work;needs a clear instruction",
        places: "in the server room;on the desk;in the lab;at the office", reasons: "machines repeat without getting tired;a copy protects against loss;heat shortens the life of parts;a small mistake can stop everything", roles: "programmer;operator;tester" },
    Topic { name: "health", things: "bandage;vaccine;thermometer;clinic;headache;cough;wound;bruise;heart;tablet",
        traits: "common;harmless in most cases;checked by a nurse;better after rest;watched with care;easy to treat early", acts: "should be looked at by a doctor;gets attention in winter;is treated with patience;is explained to every patient;matters at any age",
        places: "at the clinic;on the second floor;in the waiting room;at the pharmacy", reasons: "clean hands stop germs;sleep helps the body heal;early care prevents trouble;the body needs water", roles: "doctor;nurse;patient" },
    Topic { name: "sport", things: "ball;race;goal;team;stadium;swimmer;whistle;medal;net;track",
        traits: "fair;tough;famous;ready for the match;watched by thousands;soaked by the rain", acts: "decides the season;teaches people to work together;draws a crowd on Sunday;is known for its speed;demands training",
        places: "at the sports ground;in the middle of the field;by the swimming pool;near the finish line", reasons: "muscles grow with use;a team is stronger than one;rules keep the game fair;warm muscles tear less", roles: "coach;referee;runner" },
    Topic { name: "trade", things: "shop;coin;market stall;invoice;warehouse;scale;contract;parcel;price list;account book",
        traits: "honest;busy on Saturdays;profitable;open to all;counted twice;worth the trouble", acts: "is closed on holidays;keeps buyers and sellers honest;shows what is owed;changes with demand;is signed by both sides",
        places: "on the market square;behind the counter;in the main street;at the trading house", reasons: "scarce goods cost more;trust brings customers back;a written deal avoids quarrels;every cost must be paid", roles: "merchant;buyer;clerk" },
    Topic { name: "money", things: "bank;loan;budget;savings box;tax;wage;share;bond;debt;receipt",
        traits: "small;safe;paid every month;easy to forget;written down;larger than last year", acts: "grows with interest;must be recorded;is checked at the end of the year;helps in hard times;belongs in the books",
        places: "at the counter;in the ledger;in the strong room;on the last page", reasons: "interest adds up over years;prices rise slowly;a reserve gives calm;books must balance", roles: "banker;saver;auditor" },
    Topic { name: "law", things: "court;judge;rule;witness;verdict;permit;treaty;fine;petition;statute",
        traits: "public;binding;fair to both sides;written in plain words;older than the town;open to appeal", acts: "protects the weak;must be given a reason;applies to everyone;is read aloud;can be changed by vote",
        places: "in the court house;in the town archive;before the council;in the law book", reasons: "the same rule holds for all;both sides must be heard;a promise should be kept;evidence counts more than rumour", roles: "lawyer;clerk;citizen" },
    Topic { name: "town life", things: "fountain;square;bus;street lamp;bakery;museum;park bench;post office;town hall;newspaper",
        traits: "crowded;pleasant;free for all;repaired last year;known to everyone;open till late", acts: "brings people together;is decorated in December;serves the whole quarter;has a long history;looks best at sunset",
        places: "in the centre;across from the theatre;at the corner;on the hill side", reasons: "people like to meet outdoors;short ways save time;shared places need care;the town has grown", roles: "mayor;visitor;bus driver" },
    Topic { name: "mountains", things: "peak;glacier;hut;trail;cliff;pass;valley;cable car;rope bridge;alpine meadow",
        traits: "steep;snowy;lonely;dangerous in fog;worth the climb;marked in red", acts: "offers a wide view;is closed in winter;tires even strong walkers;can be reached on foot;lies above the tree line",
        places: "above the village;on the eastern ridge;beyond the lake;at the border", reasons: "air gets thin higher up;weather turns quickly there;snow hides the cracks;stones fall when the ice melts", roles: "guide;climber;shepherd" },
    Topic { name: "desert", things: "camel;oasis;cactus;sand dune;well;caravan;scorpion;date palm;lizard;tent",
        traits: "dry;patient;hot at noon;cold at night;covered with dust;hard to reach", acts: "survives with little water;casts the only shade;is a welcome sight;moves with the wind;rests at midday",
        places: "beyond the last village;between the dunes;along the old road;under the bare rock", reasons: "rain falls once in years;clear nights lose heat;water lies deep below;shade saves strength", roles: "guide;trader;nomad" },
    Topic { name: "insects", things: "bee;ant;butterfly;spider web;moth;ladybird;grasshopper;wasp;dragonfly;cricket",
        traits: "tiny;busy;harmless;beautifully made;active at night;gone after one summer", acts: "works without a pause;visits many flowers;is eaten by birds;hides from the cold;can be found with a little patience",
        places: "in the tall grass;under the bark;near the pond;among the flowers", reasons: "small bodies cool fast;flowers offer sugar;bright colours warn birds;many legs hold better", roles: "beekeeper;gardener;biologist" },
    Topic { name: "chemistry", things: "acid;crystal;flask;burner;gas bottle;filter;magnet;solution;metal bar;flame",
        traits: "pure;colourless;hot;labelled in red;stable;handled with gloves", acts: "reacts with water;must be kept dry;shows a clear colour;is weighed before use;changes when it is heated",
        places: "in the fume hood;on the top shelf;in a dark bottle;at the lab bench", reasons: "heat speeds up a reaction;oxygen feeds a fire;salt dissolves in water;a clean glass gives a clean result", roles: "chemist;lab helper;inspector" },
    Topic { name: "physics", things: "lever;spring;lens;mirror;pulley;battery;pendulum;prism;wheel;balance",
        traits: "simple;precise;older than physics;found in many machines;easy to explain;quick to build", acts: "makes hard work easier;turns one force into another;obeys the same law everywhere;is shown in the first lesson;loses a little energy",
        places: "in the physics room;on the long bench;inside the model;at the science fair", reasons: "energy is never lost;light travels in straight lines;a long arm needs less force;friction turns motion into heat", roles: "physicist;inventor;teacher" },
    Topic { name: "machines", things: "engine;crane;windmill;lathe;tractor;elevator;pump;conveyor;drill;generator",
        traits: "powerful;greasy;loud;reliable;switched off at night;built to last", acts: "needs a new filter each year;lifts more than ten men;runs on electricity;is stopped before cleaning;saves a lot of labour",
        places: "in the machine hall;behind the factory;next to the loading dock;on a concrete base", reasons: "oil keeps parts from rubbing;a guard protects the hands;worn parts break without warning;steady speed saves fuel", roles: "engineer;operator;foreman" },
    Topic { name: "aircraft", things: "propeller;wing;runway;balloon;glider;cockpit;parachute;control tower;helicopter;hangar",
        traits: "light;checked twice;smooth;bigger than it seems;ready for take-off;seen for miles", acts: "must stand a storm;is inspected after landing;depends on the wind;carries a number;waits for good weather",
        places: "at the airfield;on the south side;by the fuel store;near the tower", reasons: "air pushes the wing up;ice makes a wing heavy;wind from ahead shortens the run;rules are written after accidents", roles: "pilot;mechanic;controller" },
    Topic { name: "roads", things: "truck;road sign;roundabout;car park;traffic light;van;motorway;pavement;petrol station;garage",
        traits: "wet;well lit;closed for repairs;wide enough for two;marked in yellow;slippery in autumn", acts: "slows the traffic;is used day and night;must be seen from afar;needs repair after frost;makes the way shorter",
        places: "on the road to the north;near the school;outside the town;at the crossing", reasons: "wet leaves are slippery;speed makes stopping long;frost breaks the surface;drivers get tired at night", roles: "driver;police officer;road worker" },
    Topic { name: "clothes", things: "coat;hat;shirt;boot;glove;scarf;button;jacket;dress;sock",
        traits: "woollen;waterproof;too long;warm;mended at the elbow;folded neatly", acts: "keeps out the wind;shrinks in hot water;was sewn by hand;dries on the line;fits after a small change",
        places: "in the wardrobe;on the peg;in the tailor's shop;at the bottom of the chest", reasons: "wool holds warm air;dark cloth dries faster in the sun;a strong seam needs thick thread;cold feet make the whole body cold", roles: "tailor;shoemaker;customer" },
    Topic { name: "tools of writing", things: "pen;letter;book;envelope;page;ink pot;diary;poem;bookmark;dictionary",
        traits: "handwritten;thin;hard to read;bound in leather;signed on the back;found by chance", acts: "tells a long story;was sent in March;keeps a secret;belongs to the archive;is read again and again",
        places: "in the top drawer;on the reading desk;between two books;in the library", reasons: "ink fades in sunlight;words outlive their writer;dry air keeps paper safe;a clear hand saves time", roles: "writer;printer;librarian" },
    Topic { name: "chess", things: "king;queen;rook;bishop;knight;pawn;chess clock;opening;endgame;board",
        traits: "strong in the centre;weak at the edge;often sacrificed;loved by beginners;well protected;hard to stop", acts: "decides many games;needs support;is placed with care;becomes stronger late in the game;gives the attack its force",
        places: "in the club room;on the third row;at the tournament;beside the score sheet", reasons: "the centre controls the board;one careless move can lose the game;time is part of the game;a threat is often stronger than the move", roles: "master;beginner;arbiter" },
    Topic { name: "toys", things: "doll;kite;ball;train set;puzzle;teddy bear;spinning top;swing;sandbox;drum",
        traits: "bright;unbreakable;a present;well loved;missing a part;made of wood", acts: "makes the children laugh;comes out on rainy days;was repaired with glue;is shared among friends;ends up under the bed",
        places: "in the play room;in the toy chest;on the lawn;at the kindergarten", reasons: "children learn by playing;shared things bring friends;bright colours catch the eye;wood feels warm", roles: "child;grandmother;toy maker" },
    Topic { name: "festivals", things: "lantern;parade;firework;mask;banner;dance;feast;candle;costume;bonfire",
        traits: "merry;noisy;lit by torches;planned for months;free;remembered for years", acts: "marks the end of winter;brings the village together;starts at sunset;ends with a song;is prepared in secret",
        places: "on the village green;in the old barn;along the main street;by the river", reasons: "people like to celebrate together;the harvest is in;the longest night is over;old customs give comfort", roles: "dancer;mayor;drummer" },
    Topic { name: "space travel", things: "rocket;satellite;space suit;capsule;launch pad;solar panel;rover;antenna;space station;heat shield",
        traits: "expensive;tested for years;light but strong;watched from the ground;without crew;wrapped in foil", acts: "must stand heat and cold;sends data every day;cannot be repaired easily;depends on exact numbers;was built by many hands",
        places: "at the launch site;in orbit;in the clean room;on the red plain", reasons: "there is no air in space;every gram costs fuel;signals take time to arrive;the Sun gives free power", roles: "astronaut;engineer;flight controller" },
    Topic { name: "minerals", things: "quartz crystal;diamond;copper vein;salt block;gold nugget;fossil;pebble;coal seam;marble slab;granite block",
        traits: "hard;shiny;millions of years old;heavier than it looks;easy to scratch;rare here", acts: "was formed deep below;shows the age of the hill;is sold by weight;breaks along flat faces;tells a story of old seas",
        places: "in the quarry;in the glass case;at the foot of the cliff;in the deep mine", reasons: "pressure makes stone hard;water carries minerals;slow cooling grows large crystals;layers form year after year", roles: "miner;geologist;jeweller" },
    Topic { name: "energy", things: "wind turbine;solar roof;power line;heater;light bulb;meter;dam;stove;fuse;transformer",
        traits: "efficient;warm to the touch;paid for by now;quiet;switched on at dusk;shared by ten homes", acts: "saves fuel in winter;is read once a month;works best on a clear day;must be earthed;feeds the whole street",
        places: "on the roof;in the basement;at the edge of the village;behind a fence", reasons: "current needs a closed path;thin wires grow hot;sun and wind change by the hour;good walls save heat", roles: "electrician;tenant;meter reader" },
    Topic { name: "water at home", things: "tap;bathtub;washing machine;drain;boiler;bucket;shower;sink;water meter;hose",
        traits: "leaking;clean;half full;easy to turn off;old but good;cold in the morning", acts: "drips at night;needs a new seal;is emptied before frost;uses less water than before;must be fixed by Friday",
        places: "in the bathroom;under the kitchen;in the laundry;outside the back door", reasons: "water finds every gap;frozen water bursts pipes;lime settles in hot water;a small drip fills a bucket", roles: "plumber;tenant;caretaker" },
    Topic { name: "post", things: "stamp;parcel;letter box;postcard;address;mail van;sorting office;delivery;telegram;seal",
        traits: "late;fragile;from abroad;sent with care;weighed first;lost for a week", acts: "arrives before noon;crosses three borders;is sorted by hand;makes someone happy;needs a clear label",
        places: "at the counter;by the front gate;in the mail bag;at the depot", reasons: "a wrong number delays everything;holidays fill the bags;fragile goods need straw;snow blocks the road", roles: "postman;sender;clerk" },
    Topic { name: "friendship", things: "promise;visit;secret;present;quarrel;joke;invitation;memory;handshake;walk",
        traits: "honest;kind;long expected;easy to break;worth keeping;simple but true", acts: "makes a hard day better;is never forgotten;begins with a small step;needs two people;grows with time",
        places: "in the kitchen;at the garden gate;on the way home;by the fire", reasons: "people need each other;kind words cost nothing;trust grows slowly;shared work brings people close", roles: "friend;neighbour;cousin" },
    Topic { name: "time of year", things: "spring morning;summer day;autumn evening;winter night;harvest;first frost;holiday;market day;long weekend;thaw",
        traits: "short;golden;quiet;full of work;eagerly awaited;cooler than usual", acts: "changes the look of the land;brings people outdoors;ends too soon;smells of wood smoke;is noted in the almanac",
        places: "in the valley;in the north;on the farm;by the lake", reasons: "the sun stands low;days grow longer after December;the ground stores warmth;leaves fall when light fades", roles: "farmer;child;almanac writer" },
];

/// Towns of the corpus. Prices, months and colours are facts of a thing in one of them.
pub(super) const TOWNS: &str = "Alderford;Birchmere;Coldwater;Dunmoor;Eastwick;Fernhill;Greyport;Hollowbrook;Ironbridge;Juniper Bay;\
    Kingsford;Larkfield;Millbrook;Northgate;Oakhaven;Pinecrest;Quarry Hill;Redcliff;Saltmarsh;Thornbury;Underwood;Valley End;Westmere;\
    Yarrow;Amberley;Brackenridge;Cloverdale;Driftwood;Elmstead;Foxhollow";

/// Months, for facts about when.
pub(super) const MONTHS: &str = "January;February;March;April;May;June;July;August;September;October;November;December";

/// Colours, for facts about looks.
pub(super) const COLOURS: &str = "red;blue;green;yellow;white;black;grey;brown;orange;purple;silver;golden";

/// How a story's day began.
pub(super) const OPENINGS: &str = "One morning;On a rainy Tuesday;Late in the evening;At the end of the summer;Before sunrise;\
    One cold day;After a long week;On the first day of the month;Just after lunch;While the others slept";

/// What went wrong in a story.
pub(super) const TROUBLES: &str = "it was gone;it did not look right;somebody had moved it;nobody knew what to do with it;\
    there was a strange mark on it;it had been mixed up with another one;it was in the wrong place;it had been forgotten in the rain";

/// What the people of a story did then.
pub(super) const REMEDIES: &str = "looked for it until noon;asked everyone in the street;wrote down what had happened;sat down and thought;\
    took it to someone who knew more;put everything back in order;tried again more slowly;told the truth about it";

/// How a story ended.
pub(super) const ENDINGS: &str = "In the end everything was all right.;That evening they laughed about it.;Since then they have been more careful.;\
    Nobody was angry any more.;It was a small thing, but they never forgot it.;The next day it was as good as new.;\
    They went home tired and content.;So a bad day became a good one.";
