package cbpnet.app

import android.app.Activity
import android.app.Application
import java.io.File

/** What outlives the screens: they come and go with every rotation, and the learner stays. */
class DemoApplication : Application() {
    val settings by lazy { Settings(getSharedPreferences("settings", MODE_PRIVATE)) }
    val measurements by lazy { Measurements(getSharedPreferences("measurements", MODE_PRIVATE)) }
    val pictures by lazy { PictureStore(File(filesDir, "pictures")) }
    val bundles by lazy { BundleFiles(assets, File(filesDir, "bundles")) }
    val learner by lazy { Learner(bundles, File(filesDir, "states"), settings) }
    val lesson by lazy { LessonRunner(pictures, measurements) }

    override fun onCreate() {
        super.onCreate()
        learner.open()
    }
}

/** The application that a screen belongs to. */
val Activity.demo: DemoApplication get() = application as DemoApplication
