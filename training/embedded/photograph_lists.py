"""Which free photographs are trained on, and which choose between critics.

No list holds a photograph of `benchmarks/photo_ladder.py` (scikit-image, scikit-learn).
"""

__all__ = ["SELECTION", "SKY", "SKY_SELECTION", "TRAINING"]

_STELLARIUM = "stellarium-data 0.22.2-1"
_STELLARIUM_LICENCES = (
    "CC-BY-3.0, CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0, public domain (its CREDITS.md "
    "says which)"
)
# Debian packages: name and version, licence of the files, files. All Creative Commons.
_DEBIAN = (
    (
        "budgie-backgrounds 4.2-1",
        "CC0-1.0",
        (
            "abstract-spiral.jxl beacon-street-sunset.jxl blue-periwinkle.jxl canyon-wren.jxl "
            "casa-mila.jxl extreme-desert-hike.jxl high-trestle-trail.jxl lake-sherburne.jxl "
            "oakland-zoo-otters.jxl ocean-waves.jxl perched-osprey.jxl perched-shrike.jxl "
            "piazza-gae-aulenti.jxl pondering-heron.jxl roman-colosseum.jxl saturnian-profile.jxl "
            "singaporean-cityscape.jxl sunning-anhinga.jxl tea-gardens.jxl the-spices-of-life.jxl"
        ),
    ),
    (
        "lomiri-wallpapers-16.04 20.04.0-2",
        "CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0 (its debian/copyright says which)",
        (
            "Bridge_by_Sander_Klootwijk.jpg Dragonfly_by_Bolly.jpg Picture_0B_by_freespace.jpg "
            "Picture_1A_by_freespace.jpg Wine_by_Jakkub_Mede.jpg "
            "aitzgorri_by_Aitzol_Berasategi.jpg free_by_Peter_Nerlich.jpg "
            "friends_by_Aitzol_Berasategi.jpg greentock_by_Peter_Nerlich.jpg "
            "life_by_Aitzol_Berasategi.jpg picosdeeuropa_by_Aitzol_Berasategi.jpg "
            "seeding_by_Clements_Engelhardt.jpg sunset_by_Aitzol_Berasategi.jpg"
        ),
    ),
    (
        "lomiri-wallpapers-20.04 20.04.0-2",
        "CC-BY-SA-3.0",
        "Kleiber_by_Lukas_Baubkus.jpg",
    ),
    (
        "ukui-wallpapers 20.04.4-1",
        "CC-BY-SA-3.0",
        (
            "bluebird.jpg bridgecity.jpg bridgecity2.jpg flamingos.jpg horse.jpg house.jpg "
            "look.jpg mountain-range.jpg mountain.jpg mountain2.jpg planet-ascending.jpg sea.jpg "
            "sky.jpg snowy-mountains.jpg still-life.jpg sunf.jpg"
        ),
    ),
    (
        "gnome-backgrounds 3.38.0-1",
        "CC-BY-SA-3.0",
        "Dark_Ivy.jpg Road.jpg",
    ),
)
# Web templates of the npm registry, all under the MIT licence: name, version, folder, files.
_TEMPLATES = (
    (
        "argon-design-system-free",
        "1.2.0",
        "assets/img/pages",
        "mohamed.jpg",
    ),
    (
        "argon-design-system-react",
        "1.1.0",
        "src/assets/img/theme",
        "img-1-1200x1000.jpg img-2-1200x1000.jpg team-3-800x800.jpg team-4-800x800.jpg",
    ),
    (
        "material-dashboard",
        "2.1.0",
        "assets/img",
        "cover.jpg",
    ),
    (
        "material-dashboard",
        "3.1.0",
        "assets/img",
        (
            "bg-pricing.jpg home-decor-1.jpg home-decor-2.jpg home-decor-3.jpg ivancik.jpg "
            "product-12.jpg products/product-11.jpg products/product-details-1.jpg "
            "products/product-details-2.jpg products/product-details-3.jpg "
            "products/product-details-4.jpg products/product-details-5.jpg"
        ),
    ),
    (
        "material-kit",
        "2.0.4",
        "assets/img",
        "bg2.jpg bg3.jpg bg7.jpg city-profile.jpg profile_city.jpg",
    ),
    (
        "notus-nextjs",
        "1.1.0",
        "public/img",
        "team-1-800x800.jpg team-2-800x800.jpg",
    ),
    (
        "paper-kit-2",
        "2.1.0",
        "assets/img",
        (
            "antoine-barres.jpg bruno-abatti.jpg daniel-olahh.jpg daniel-olahs.jpg "
            "fabio-mangione.jpg federico-beccari.jpg ilya-yakover.jpg joshua-stannard.jpg "
            "login-image.jpg soroush-karimi.jpg uriel-soberanes.jpg"
        ),
    ),
    (
        "paper-kit-react",
        "1.3.0",
        "src/assets/img",
        "login.jpg",
    ),
    (
        "soft-ui-design-system",
        "1.0.4",
        "assets/img",
        (
            "anastasia.jpg annie-spratt.jpg blog7-1.jpg blog7-2.jpg blog7-3.jpg brooke.jpg "
            "card-2.jpg card-3.jpg ivancik.jpg kal-visuals.jpg marie.jpg meeting.jpg nastuh.jpg "
            "office-dark.jpg toa-heftiba.jpg"
        ),
    ),
    (
        "startbootstrap-agency",
        "4.1.1",
        "img/portfolio",
        "05-full.jpg",
    ),
    (
        "startbootstrap-business-casual",
        "5.0.7",
        "img",
        "about.jpg bg.jpg intro.jpg products-01.jpg products-02.jpg",
    ),
    (
        "startbootstrap-clean-blog",
        "5.1.0",
        "src/assets/img",
        "about-bg.jpg contact-bg.jpg home-bg.jpg post-bg.jpg",
    ),
    (
        "startbootstrap-coming-soon",
        "6.0.7",
        "src/assets/img",
        "bg-mobile-fallback.jpg",
    ),
    (
        "startbootstrap-creative",
        "7.0.7",
        "src/assets/img",
        "bg-masthead.jpg",
    ),
    (
        "startbootstrap-grayscale",
        "7.0.6",
        "src/assets/img",
        "bg-masthead.jpg bg-signup.jpg",
    ),
    (
        "startbootstrap-landing-page",
        "4.1.1",
        "img",
        "bg-showcase-3.jpg",
    ),
    (
        "startbootstrap-landing-page",
        "6.0.6",
        "src/assets/img",
        "bg-showcase-1.jpg",
    ),
    (
        "startbootstrap-one-page-wonder",
        "6.0.6",
        "src/assets/img",
        "01.jpg 02.jpg 03.jpg",
    ),
    (
        "startbootstrap-stylish-portfolio",
        "4.0.0",
        "img",
        "bg-callout.jpg",
    ),
)
TRAINING = (
    *_DEBIAN,
    *(
        (
            f"npm's {name} {version}",
            "MIT",
            " ".join(f"{name}-{version}/package/{folder}/{file}" for file in files.split()),
        )
        for name, version, folder, files in _TEMPLATES
    ),
)
# Looked at to choose between critics, never trained on.
SELECTION = (
    (
        "mate-backgrounds 1.26.0-1",
        "GPL-2+",
        (
            "Garden.jpg Dune.jpg nature/Wood.jpg Aqua.jpg TwoWings.jpg Storm.jpg GreenMeadow.jpg "
            "RainDrops.jpg FreshFlower.jpg LadyBird.jpg YellowFlower.jpg"
        ),
    ),
    (
        "plasma-workspace-wallpapers 4:5.27.5-2",
        "GPL-2+",
        (
            "FallenLeaf/contents/images/2560x1600.jpg Path/contents/images/2560x1600.jpg "
            "EveningGlow/contents/images/2560x1600.jpg Grey/contents/images/2560x1600.jpg "
            "ColorfulCups/contents/images/2560x1600.jpg "
            "OneStandsOut/contents/images/2560x1600.jpg BytheWater/contents/images/2560x1600.jpg "
            "Kite/contents/images/2560x1600.jpg"
        ),
    ),
)
# The sky at night, tried beside the others (training/LOG.md); the shipped critic never saw it.
SKY = (
    (
        _STELLARIUM,
        _STELLARIUM_LICENCES,
        (
            "nebulae/default/barnard150.png nebulae/default/etaCarinae.png "
            "nebulae/default/fornax_cluster.png nebulae/default/hydra_cluster.png "
            "nebulae/default/ic1396.png nebulae/default/ic2944.png nebulae/default/ic434.png "
            "nebulae/default/ic4628.png nebulae/default/leo_cluster.png nebulae/default/m13.png "
            "nebulae/default/m16.png nebulae/default/m17.png nebulae/default/m3.png "
            "nebulae/default/m31.png nebulae/default/m42.png nebulae/default/m8.png "
            "nebulae/default/n2170.png nebulae/default/n2244.png nebulae/default/n3603.png "
            "nebulae/default/n654.png nebulae/default/n6960.png nebulae/default/n7380.png "
            "nebulae/default/n7822.png nebulae/default/perseus_cluster.png "
            "nebulae/default/rcw32.png nebulae/default/sh2-240.png nebulae/default/sh2-264.png "
            "nebulae/default/virgo_cluster.png"
        ),
    ),
)
SKY_SELECTION = (
    (
        _STELLARIUM,
        _STELLARIUM_LICENCES,
        (
            "nebulae/default/coma_cluster.png nebulae/default/hercules_cluster.png "
            "nebulae/default/ldn673.png nebulae/default/m33.png nebulae/default/n6752.png "
            "nebulae/default/n7000.png nebulae/default/pleiades.png"
        ),
    ),
)
