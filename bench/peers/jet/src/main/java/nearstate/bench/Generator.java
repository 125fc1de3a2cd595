package nearstate.bench;

import java.io.Serializable;

/**
 * The light events of bench/nexmark/generator.ts with `keys`: event n is a pure function of (seed, n), with the same numbers in the same
 * fields; only item names are other words.
 */
final class Generator {
    static final class Person implements Serializable {
        final long id;
        final String name;
        final String emailAddress;
        final String creditCard;
        final String city;
        final String state;
        final long dateTime;

        Person(long id, String name, String emailAddress, String creditCard, String city, String state, long dateTime) {
            this.id = id;
            this.name = name;
            this.emailAddress = emailAddress;
            this.creditCard = creditCard;
            this.city = city;
            this.state = state;
            this.dateTime = dateTime;
        }
    }

    static final class Auction implements Serializable {
        final long id;
        final String itemName;
        final long initialBid;
        final long reserve;
        final long dateTime;
        final long expires;
        final long seller;
        final long category;

        Auction(long id, String itemName, long initialBid, long reserve, long dateTime, long expires, long seller, long category) {
            this.id = id;
            this.itemName = itemName;
            this.initialBid = initialBid;
            this.reserve = reserve;
            this.dateTime = dateTime;
            this.expires = expires;
            this.seller = seller;
            this.category = category;
        }
    }

    static final class Bid implements Serializable {
        final long auction;
        final long bidder;
        final long price;
        final long dateTime;

        Bid(long auction, long bidder, long price, long dateTime) {
            this.auction = auction;
            this.bidder = bidder;
            this.price = price;
            this.dateTime = dateTime;
        }
    }

    private static final long BASE_TIME = 1_700_000_000_000L;
    private static final long FIRST_ID = 1000;
    private static final int STEP = 0x9e3779b9;
    private static final int HALF_BITS = 11;
    private static final int HALF_MASK = (1 << HALF_BITS) - 1;
    private static final double[] COARSE = new double[1 << HALF_BITS];
    private static final double[] FINE = new double[1 << HALF_BITS];
    private static final String[] NAMES = new String[256];
    private static final String[] ADDRESSES = new String[256];
    private static final String[] FOUR_DIGITS = new String[10_000];
    private static final String[] ITEM_NAMES = new String[1024];
    private static final String[] STATES = {"AZ", "CA", "ID", "OR", "WA", "WY"};
    private static final String[] CITIES = {
        "Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"
    };
    private static final String[] FIRST_NAMES = {
        "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter", "Ines", "Omar", "Wei", "Aiko", "Noor"
    };
    private static final String[] LAST_NAMES = {
        "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris", "Okafor", "Tanaka", "Silva", "Novak",
        "Haddad", "Larsen", "Moreau"
    };

    static {
        for (int i = 0; i <= HALF_MASK; i++) {
            COARSE[i] = 100 * Math.pow(10, (6.0 * i) / (1 << HALF_BITS));
            FINE[i] = Math.pow(10, (6.0 * i) / (1 << (2 * HALF_BITS)));
        }
        for (int i = 0; i < 256; i++) {
            NAMES[i] = FIRST_NAMES[i / 16] + " " + LAST_NAMES[i % 16];
            ADDRESSES[i] = NAMES[i].replace(' ', '.').toLowerCase();
        }
        for (int i = 0; i < FOUR_DIGITS.length; i++) FOUR_DIGITS[i] = String.format("%04d", i);
        for (int i = 0; i < ITEM_NAMES.length; i++) ITEM_NAMES[i] = "item number " + i;
    }

    private final int seeded;
    private final long rate;
    private final long keys;
    private final long lifetimeMax;

    Generator(long seed, long rate, long keys) {
        this.seeded = mix(mix((int) seed) + mix((int) (seed >>> 32) + STEP));
        this.rate = rate;
        this.keys = keys;
        this.lifetimeMax = Math.max(1, (2 * keys * 50 * 1000) / (3 * rate));
    }

    private static int mix(int from) {
        int bits = from;
        bits = (bits ^ (bits >>> 16)) * 0x85ebca6b;
        bits = (bits ^ (bits >>> 13)) * 0xc2b2ae35;
        return bits ^ (bits >>> 16);
    }

    private static long below(int bits, long bound) {
        return (long) ((bits & 0xffffffffL) * (bound / 4_294_967_296.0));
    }

    private static long priceOf(int bits) {
        int u = bits >>> (32 - 2 * HALF_BITS);
        return Math.round(COARSE[u >>> HALF_BITS] * FINE[u & HALF_MASK]);
    }

    private static String digits(int bits) {
        return FOUR_DIGITS[(bits & 0xffff) % FOUR_DIGITS.length];
    }

    long timeOf(long n) {
        return BASE_TIME + n * 1000 / rate;
    }

    Object eventAt(long n) {
        long group = n / 50;
        long offset = n - group * 50;
        int first = mix(mix((int) n) ^ seeded);
        int second = mix(first + STEP);
        long dateTime = timeOf(n);
        if (offset > 3) {
            long lastAuction = group * 3 + 2;
            long auction = below(second, Math.min(keys, lastAuction + 1));
            long bidder = group - below(mix(second + STEP), Math.min(keys, group + 1));
            return new Bid(FIRST_ID + auction, FIRST_ID + bidder, priceOf(first), dateTime);
        }
        int third = mix(second + STEP);
        if (offset == 0) {
            int number = (int) below(first, NAMES.length);
            return new Person(
                FIRST_ID + group,
                NAMES[number],
                ADDRESSES[number] + '@' + (third >>> 22) + ".example",
                digits(first) + ' ' + digits(first >>> 16) + ' ' + digits(second) + ' ' + digits(second >>> 16),
                CITIES[(int) below(second, CITIES.length)],
                STATES[(int) below(third, STATES.length)],
                dateTime);
        }
        long initialBid = priceOf(third);
        return new Auction(
            FIRST_ID + group * 3 + offset - 1,
            ITEM_NAMES[(first >>> 8) & (ITEM_NAMES.length - 1)],
            initialBid,
            initialBid + priceOf(second),
            dateTime,
            dateTime + 1 + below(mix(third + STEP), lifetimeMax),
            FIRST_ID + group - below(second, Math.min(keys, group + 1)),
            10 + ((first >>> 20) % 5));
    }
}
