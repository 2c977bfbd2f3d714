package cbpnet.app

import android.app.Activity
import android.view.View

/** A view of the screen's layout. */
inline fun <reified T : View> Activity.view(id: Int): T = findViewById(id) as T

/** A view inside this one. */
inline fun <reified T : View> View.view(id: Int): T = findViewById(id) as T
